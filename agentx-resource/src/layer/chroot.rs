/// Shows a directory as the root.
#[derive(Clone, Debug)]
pub struct Chroot;
