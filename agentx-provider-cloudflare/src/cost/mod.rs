//! What Cloudflare's resources cost: quantities that are billed, times a dated table of prices.
//!
//! The quantities come from where they are known, each as a [`Consumption`]: `R2FileSystem::usage` counts the requests of a
//! bucket by class, D1 says with each answer how many rows it read and wrote (`D1Executor::usage`), `KvEnv::usage` counts
//! keys and pages. A [`Meter`](agentx_resource::layer::Meter) counts the verbs above them. A turn's share is the difference
//! between two looks.
//!
//! Money is counted in [`NanoDollars`], in integers: what is summed up is quantities, and a price is applied once.
//!
//! ```
//! use agentx_provider_cloudflare::cost::{Billed, Consumption, Price, Prices};
//!
//! let mut turn = Consumption::default();
//! turn.add(Billed::D1RowWritten, 40);
//! turn.add(Billed::D1RowRead, 300);
//! let bill = Prices::published().bill(&turn);
//! assert_eq!(bill.total().to_string(), "$0.000040300");
//!
//! // A contract of one's own.
//! let prices = Prices::published().with(Billed::D1RowWritten, Price::per_million(500_000_000));
//! assert_eq!(prices.bill(&turn).total().nanos(), 20_300);
//! ```

mod bill;
mod consumption;
mod item;
mod prices;
mod turn;

pub use self::{
    bill::{Bill, Line, NanoDollars},
    consumption::Consumption,
    item::Billed,
    prices::{Price, Prices},
    turn::TurnShape,
};
