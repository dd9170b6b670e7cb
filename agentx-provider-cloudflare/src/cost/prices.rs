use super::{Bill, Billed, Consumption, Line, NanoDollars};

/// What one item costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Price {
    /// The price of [`Price::per`] units.
    pub amount: NanoDollars,
    /// How many units that is the price of; never 0.
    pub per: u64,
    /// How many units a month the plan includes.
    pub included: u64,
}

impl Price {
    /// So many billionths of a dollar for each million units, with nothing included.
    pub const fn per_million(nanos: u64) -> Self {
        Self::per(nanos, 1_000_000)
    }

    /// So many billionths of a dollar for `units`, with nothing included. No units count as one.
    pub const fn per(nanos: u64, units: u64) -> Self {
        let per = if units == 0 { 1 } else { units };
        Self { amount: NanoDollars::new(nanos as u128), per, included: 0 }
    }

    /// With so many units a month that the plan includes.
    pub const fn with_included(mut self, units: u64) -> Self {
        self.included = units;
        self
    }

    /// Rounded up, as a price is applied once to a sum.
    fn of(self, quantity: u64) -> NanoDollars {
        let whole = self.amount.nanos().saturating_mul(u128::from(quantity));
        NanoDollars::new(whole.div_ceil(u128::from(self.per)))
    }
}

/// A table of prices in US dollars, of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    as_of: String,
    base: NanoDollars,
    items: [Price; Billed::ALL.len()],
}

impl Prices {
    /// The day on which [`Prices::published`] was read from Cloudflare's documentation.
    pub const READ_ON: &str = "2026-11-22";

    /// What Cloudflare's documentation says for the plan Workers Paid, as of [`Prices::READ_ON`]: the pages
    /// `workers/platform/pricing`, `d1/platform/pricing`, `kv/platform/pricing`, `r2/pricing`,
    /// `durable-objects/platform/pricing` and `containers/pricing`. What is charged may have changed since.
    pub fn published() -> Self {
        let mut table = Self {
            as_of: Self::READ_ON.to_owned(),
            base: dollars(5),
            items: [Price::per(0, 1); Billed::ALL.len()],
        };
        for item in Billed::ALL {
            table.set(*item, published(*item));
        }
        table
    }

    /// With another price.
    pub fn with(mut self, item: Billed, price: Price) -> Self {
        self.set(item, price);
        self
    }

    /// With another day, for those who keep a table of their own.
    pub fn with_as_of(mut self, day: impl Into<String>) -> Self {
        self.as_of = day.into();
        self
    }

    /// The day of the table.
    pub fn as_of(&self) -> &str {
        &self.as_of
    }

    /// What the plan costs a month, whatever is used.
    pub fn base(&self) -> NanoDollars {
        self.base
    }

    /// The price of an item.
    pub fn of(&self, item: Billed) -> Price {
        self.items.get(item.index()).copied().unwrap_or(Price::per(0, 1))
    }

    /// What this comes to when all that the plan includes is used up: the price of one more turn.
    pub fn bill(&self, used: &Consumption) -> Bill {
        self.lines(used, |_, quantity| quantity)
    }

    /// What a month comes to, less what the plan includes and without the plan's own price.
    pub fn month(&self, used: &Consumption) -> Bill {
        self.lines(used, |price, quantity| quantity.saturating_sub(price.included))
    }

    fn lines(&self, used: &Consumption, charged: impl Fn(Price, u64) -> u64) -> Bill {
        let lines = Billed::ALL.iter().filter(|item| used.of(**item) > 0).map(|&item| {
            let (price, quantity) = (self.of(item), used.of(item));
            let charged = charged(price, quantity);
            Line { item, quantity, charged, amount: price.of(charged) }
        });
        Bill { lines: lines.collect() }
    }

    fn set(&mut self, item: Billed, price: Price) {
        if let Some(place) = self.items.get_mut(item.index()) {
            *place = price;
        }
    }
}

const fn dollars(whole: u64) -> NanoDollars {
    NanoDollars::new(whole as u128 * 1_000_000_000)
}

/// Units of storage and time are a thousandth of those of the pages, or a 1024th.
fn published(item: Billed) -> Price {
    const MILLION: u64 = 1_000_000;
    const HOUR: u64 = 3600;
    match item {
        // $0.30 for a million.
        Billed::WorkerRequest => Price::per_million(300_000_000).with_included(10 * MILLION),
        // $0.02 for a million ms.
        Billed::WorkerCpu => Price::per_million(20_000_000).with_included(30 * MILLION),
        // $0.001 for a million.
        Billed::D1RowRead => Price::per_million(1_000_000).with_included(25_000 * MILLION),
        // $1.00 for a million.
        Billed::D1RowWritten => Price::per_million(1_000_000_000).with_included(50 * MILLION),
        // $0.75 for a GB-month.
        Billed::D1Storage => Price::per(750_000_000, 1000).with_included(5 * 1000),
        // $0.50 for a million.
        Billed::KvRead => Price::per_million(500_000_000).with_included(10 * MILLION),
        // $5.00 for a million.
        Billed::KvWrite | Billed::KvDelete | Billed::KvList => {
            Price::per_million(5_000_000_000).with_included(MILLION)
        }
        // $0.50 for a GB-month.
        Billed::KvStorage => Price::per(500_000_000, 1000).with_included(1000),
        // $4.50 for a million.
        Billed::R2ClassA => Price::per_million(4_500_000_000).with_included(MILLION),
        // $0.36 for a million.
        Billed::R2ClassB => Price::per_million(360_000_000).with_included(10 * MILLION),
        // $0.015 for a GB-month.
        Billed::R2Storage => Price::per(15_000_000, 1000).with_included(10 * 1000),
        // $0.15 for a million.
        Billed::ObjectRequest => Price::per_million(150_000_000).with_included(MILLION),
        // $12.50 for a million GB-s.
        Billed::ObjectDuration => Price::per(12_500, 1000).with_included(400_000 * 1000),
        // $0.000020 for a vCPU-s; 375 vCPU-minutes.
        Billed::ContainerCpu => Price::per(20_000, 1000).with_included(375 * 60 * 1000),
        // $0.0000025 for a GiB-s; 25 GiB-hours.
        Billed::ContainerMemory => Price::per(2500, 1024).with_included(25 * HOUR * 1024),
        // $0.00000007 for a GB-s; 200 GB-hours.
        Billed::ContainerDisk => Price::per(70, 1000).with_included(200 * HOUR * 1000),
        // $0.025 for a GB; 1 TB.
        Billed::ContainerEgress => Price::per(25_000_000, 1000).with_included(MILLION),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the units of Cloudflare's pages.
    #[test]
    fn the_table_says_what_the_pages_say() {
        let prices = Prices::published();
        let million = 1_000_000;
        for (item, quantity, cents) in [
            (Billed::WorkerRequest, million, 30),
            (Billed::WorkerCpu, million, 2),
            (Billed::D1RowRead, 1000 * million, 100),
            (Billed::D1RowWritten, million, 100),
            (Billed::D1Storage, 1000, 75),
            (Billed::KvRead, million, 50),
            (Billed::KvWrite, million, 500),
            (Billed::KvDelete, million, 500),
            (Billed::KvList, million, 500),
            (Billed::KvStorage, 1000, 50),
            (Billed::R2ClassA, million, 450),
            (Billed::R2ClassB, million, 36),
            (Billed::R2Storage, 100 * 1000, 150),
            (Billed::ObjectRequest, million, 15),
            (Billed::ObjectDuration, million * 1000, 1250),
            (Billed::ContainerCpu, 1_000_000 * 1000, 2000),
            (Billed::ContainerMemory, 1_000_000 * 1024, 250),
            (Billed::ContainerDisk, 100_000_000 * 1000, 700),
            (Billed::ContainerEgress, 1000 * 1000, 2500),
        ] {
            let bill = prices.bill(&Consumption::default().with(item, quantity));
            assert_eq!(bill.total().cents(), cents, "{item}");
        }
        assert_eq!(Billed::ALL.len(), 19, "each item is in the table above");
    }

    #[test]
    fn a_month_is_charged_for_what_the_plan_does_not_include() {
        let prices = Prices::published();
        let used = Consumption::default()
            .with(Billed::D1RowWritten, 50_000_000)
            .with(Billed::D1RowRead, 25_000_000_001)
            .with(Billed::ContainerCpu, 22_500_000 + 1000);
        let month = prices.month(&used);
        assert_eq!(month.of(Billed::D1RowWritten), NanoDollars::default());
        assert_eq!(month.of(Billed::D1RowRead).nanos(), 1);
        assert_eq!(month.of(Billed::ContainerCpu).nanos(), 20_000);
        assert_eq!(month.lines.len(), 3, "what costs nothing is told as well");
        assert_eq!(prices.base().cents(), 500);
    }

    /// Summing up turns and summing up their quantities comes to the same, but for what rounding adds: less than a
    /// billionth of a dollar for each item of each bill.
    #[test]
    fn nothing_drifts() {
        let prices = Prices::published();
        let turn = Consumption::default().with(Billed::ContainerMemory, 7).with(Billed::D1RowRead, 3);
        let turns = 100_000;
        let each: u128 = (0..turns).map(|_| prices.bill(&turn).total().nanos()).sum();
        let all = prices.bill(&turn.times(turns)).total().nanos();
        assert_eq!(all, (7 * 2500 * u128::from(turns)).div_ceil(1024) + 3 * u128::from(turns));
        assert!(each >= all && each - all < u128::from(turns), "{each} {all}");
    }

    #[test]
    fn the_largest_quantities_overflow_nothing() {
        let all = Billed::ALL.iter().fold(Consumption::default(), |sum, item| sum.with(*item, u64::MAX));
        let bill = Prices::published().bill(&all.times(2));
        assert!(
            bill.lines.iter().all(|line| line.quantity == u64::MAX && line.amount > NanoDollars::default())
        );
        assert_eq!(Price::per(7, 0).per, 1);
    }
}
