//! The extension points, and sets of them.

/// An extension point, as Kubernetes' scheduler configuration names it (in camel case).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    PreFilter,
    Filter,
    PostFilter,
    PreScore,
    Score,
    /// With it goes giving back.
    Reserve,
    Permit,
    PreBind,
    Bind,
}

impl Point {
    pub const ALL: [Self; 9] = [
        Self::PreFilter,
        Self::Filter,
        Self::PostFilter,
        Self::PreScore,
        Self::Score,
        Self::Reserve,
        Self::Permit,
        Self::PreBind,
        Self::Bind,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreFilter => "preFilter",
            Self::Filter => "filter",
            Self::PostFilter => "postFilter",
            Self::PreScore => "preScore",
            Self::Score => "score",
            Self::Reserve => "reserve",
            Self::Permit => "permit",
            Self::PreBind => "preBind",
            Self::Bind => "bind",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of extension points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Points(u16);

impl Points {
    pub const fn of(points: &[Point]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < points.len() {
            bits |= points[at].bit();
            at += 1;
        }
        Self(bits)
    }

    pub const fn contains(self, point: Point) -> bool {
        self.0 & point.bit() != 0
    }

    #[must_use]
    pub const fn with(self, point: Point) -> Self {
        Self(self.0 | point.bit())
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl FromIterator<Point> for Points {
    fn from_iter<I: IntoIterator<Item = Point>>(points: I) -> Self {
        Self(points.into_iter().fold(0, |bits, point| bits | point.bit()))
    }
}
