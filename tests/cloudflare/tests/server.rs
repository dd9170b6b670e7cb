//! The server answers.
#![cfg(test)]

use agentx_tests_cloudflare::Place;

#[test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
fn each_test_has_a_place_of_its_own() {
    let (one, other) = (Place::take(), Place::take());
    assert_ne!(one.number(), other.number());
}
