//! The filter over system calls, as a classic BPF program.
//!
//! It denies by a list, since programs of a developer's machine use nearly everything else, and denies all that is
//! newer than the list. The decision is a tree over the numbers: the kernel runs the whole program once for every
//! number when the filter is installed, which is most of what a filter costs.

/// An instruction: `struct sock_filter` as one word.
type Instruction = u64;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
const XOR: u16 = 0xa4;
/// With the index register.
const OR_INDEX: u16 = 0x4c;
const TO_INDEX: u16 = 0x07;

/// Offsets in `struct seccomp_data`. Of an argument it is the low half, which is all that these calls look at.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}
/// The two halves of the sixth argument, which none of the calls with a key takes.
const KEY: [u32; 2] = [argument(5), argument(5) + 4];

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
/// None, so that the program kills. No helper is built there, and nobody isolates.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NATIVE: u32 = 0;

/// The first number that the list does not know. `0x4000_0000` and beyond, the x32 calls, are among these.
const UNKNOWN: u32 = 471;

/// `CLONE_NEW*`: mount, cgroup, uts, ipc, user, pid, network; time, which shares its bit with a signal in `clone`.
const NEW_NAMESPACES: u32 = 0x7e02_0000;
const NEW_TIME: u32 = 0x80;
const MFD_NOEXEC_SEAL: u32 = 8;
/// Types a character into a terminal, as if its user had; and its old relative of the console.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
/// Unix, IPv4, IPv6; of netlink (16) the routing tables alone, which list the network devices.
const FAMILIES: [u32; 3] = [1, 2, 10];
const NETLINK: u32 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Allow,
    Deny(u32),
    /// Unless an argument has one of these bits.
    Unless {
        argument: u32,
        bits: u32,
    },
    /// If an argument has one of these bits.
    If {
        argument: u32,
        bits: u32,
    },
    /// If the second argument is one of these.
    IfRequest([u32; 2]),
    Families,
    /// Unless the first argument has none of these bits, where they are given, or the sixth is the key.
    Locked {
        bits: Option<u32>,
        key: u64,
    },
}

use Rule::{Deny, Families, If, IfRequest, Locked, Unless};

macro_rules! calls {
    ($($name:ident $x86_64:literal $aarch64:literal $rule:expr;)*) => {
        /// Numbers of `-1` are calls that the architecture does not have.
        #[cfg(target_arch = "x86_64")]
        const CALLS: &[(&str, i32, Rule)] = &[$((stringify!($name), $x86_64, $rule)),*];
        #[cfg(not(target_arch = "x86_64"))]
        const CALLS: &[(&str, i32, Rule)] = &[$((stringify!($name), $aarch64, $rule)),*];
    };
}

const NO: Rule = Deny(EPERM);

calls! {
    // Other processes.
    ptrace 101 117 NO;
    process_vm_readv 310 270 NO;
    process_vm_writev 311 271 NO;
    process_madvise 440 440 NO;
    kcmp 312 272 NO;
    pidfd_getfd 438 438 NO;
    perf_event_open 298 241 NO;
    // Namespaces and mounts.
    clone 56 220 If { argument: 0, bits: NEW_NAMESPACES };
    // Its flags are in memory, which a filter can't read. The C libraries fall back to `clone`.
    clone3 435 435 Deny(ENOSYS);
    unshare 272 97 If { argument: 0, bits: NEW_NAMESPACES | NEW_TIME };
    setns 308 268 NO;
    mount 165 40 NO;
    umount2 166 39 NO;
    pivot_root 155 41 NO;
    chroot 161 51 NO;
    open_tree 428 428 NO;
    open_tree_attr 467 467 NO;
    move_mount 429 429 NO;
    fsopen 430 430 NO;
    fsconfig 431 431 NO;
    fsmount 432 432 NO;
    fspick 433 433 NO;
    mount_setattr 442 442 NO;
    quotactl 179 60 NO;
    quotactl_fd 443 443 NO;
    swapon 167 224 NO;
    swapoff 168 225 NO;
    // Files past their names.
    open_by_handle_at 304 265 NO;
    fanotify_init 300 262 NO;
    // Code and data past the usual ways.
    memfd_create 319 279 Unless { argument: 1, bits: MFD_NOEXEC_SEAL };
    memfd_secret 447 447 NO;
    io_uring_setup 425 425 NO;
    io_uring_enter 426 426 NO;
    io_uring_register 427 427 NO;
    userfaultfd 323 282 NO;
    bpf 321 280 NO;
    add_key 248 217 NO;
    request_key 249 218 NO;
    keyctl 250 219 NO;
    // The machine.
    init_module 175 105 NO;
    finit_module 313 273 NO;
    delete_module 176 106 NO;
    kexec_load 246 104 NO;
    kexec_file_load 320 294 NO;
    reboot 169 142 NO;
    syslog 103 116 NO;
    acct 163 89 NO;
    settimeofday 164 170 NO;
    clock_settime 227 112 NO;
    sethostname 170 161 NO;
    setdomainname 171 162 NO;
    vhangup 153 58 NO;
    iopl 172 -1 NO;
    ioperm 173 -1 NO;
    modify_ldt 154 -1 NO;
    uselib 134 -1 NO;
    lookup_dcookie 212 18 NO;
    nfsservctl 180 42 NO;
    // Sockets and terminals.
    socket 41 198 Families;
    ioctl 16 29 IfRequest([TIOCSTI, TIOCLINUX]);
}

/// An instruction whose ways on may be verdicts.
struct Step {
    code: u16,
    value: u32,
    yes: Way,
    no: Way,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// On, past so many steps.
    Past(usize),
    /// To the end, where this is given.
    Verdict(u32),
}

use Way::{Past, Verdict};

/// The verdicts that all steps share, at the program's end.
const VERDICTS: [u32; 5] = [ALLOW, KILL, ERRNO | EPERM, ERRNO | ENOSYS, ERRNO | EAFNOSUPPORT];

/// What a helper does for each command that is to have namespaces of its own. Its filter is inherited by what it starts:
/// to install one more in each costs a tenth of a start. So these calls have a key, which the helper alone knows.
const LOCKED: [&str; 7] = ["unshare", "setns", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount"];

/// The program. Who knows the key may make namespaces, and mount what belongs there, as far as its privileges go.
pub(super) fn compile(key: Option<u64>) -> Vec<Instruction> {
    let mut steps = vec![
        statement(LOAD, ARCHITECTURE),
        // A program of another architecture would be judged by numbers that mean other calls.
        Step { code: IF_EQUAL, value: NATIVE, yes: Past(0), no: Verdict(KILL) },
        statement(LOAD, NUMBER),
    ];
    match tree(&spans(key)) {
        Ok(more) => steps.extend(more),
        Err(verdict) => steps.push(statement(RETURN, verdict)),
    }
    let end = steps.len();
    let place = |verdict| end + VERDICTS.iter().position(|it| *it == verdict).unwrap_or_default();
    let mut program: Vec<_> = (steps.iter().enumerate())
        .map(|(at, step)| {
            let distance = |way| match way {
                Past(steps) => steps,
                Verdict(verdict) => place(verdict) - at - 1,
            };
            // A test holds that the program is short enough for a jump's eight bits.
            let [yes, no] = [step.yes, step.no].map(|way| u8::try_from(distance(way)).unwrap_or_default());
            instruction(step.code, yes, no, step.value)
        })
        .collect();
    program.extend(VERDICTS.map(|verdict| instruction(RETURN, 0, 0, verdict)));
    program
}

/// What holds from each number to the next one listed.
fn spans(key: Option<u64>) -> Vec<(u32, Rule)> {
    let rule = |name: &str, rule| match (key.filter(|_| LOCKED.contains(&name)), rule) {
        (Some(key), If { argument: 0, bits }) => Locked { bits: Some(bits), key },
        (Some(key), _) => Locked { bits: None, key },
        (None, rule) => rule,
    };
    let mut calls: Vec<_> = (CALLS.iter())
        .filter_map(|(name, number, listed)| Some((u32::try_from(*number).ok()?, rule(name, *listed))))
        .collect();
    calls.push((UNKNOWN, Deny(ENOSYS)));
    calls.sort_unstable_by_key(|(number, _)| *number);
    let mut spans = vec![(0, Rule::Allow)];
    let mut next = 0;
    for (number, rule) in calls {
        if number > next {
            spans.push((next, Rule::Allow));
        }
        spans.push((number, rule));
        next = number + 1;
    }
    spans.dedup_by(|later, earlier| {
        // A span of no length gives way.
        if later.0 == earlier.0 {
            earlier.1 = later.1;
        }
        later.1 == earlier.1
    });
    spans
}

/// The steps that find the verdict for a number, or the verdict itself where there is only one.
fn tree(spans: &[(u32, Rule)]) -> Result<Vec<Step>, u32> {
    let (left, right) = spans.split_at(spans.len() / 2);
    let (Some(_), Some((middle, _))) = (left.first(), right.first()) else {
        return spans.first().map_or(Err(ALLOW), |(_, rule)| leaf(*rule));
    };
    let (left, right) = (tree(left), tree(right));
    let no = left.as_ref().map_or_else(|verdict| Verdict(*verdict), |_| Past(0));
    let past = left.as_ref().map_or(0, Vec::len);
    let yes = right.as_ref().map_or_else(|verdict| Verdict(*verdict), |_| Past(past));
    let mut steps = vec![Step { code: IF_AT_LEAST, value: *middle, yes, no }];
    steps.extend(left.into_iter().flatten());
    steps.extend(right.into_iter().flatten());
    Ok(steps)
}

fn leaf(rule: Rule) -> Result<Vec<Step>, u32> {
    const NO: Way = Verdict(ERRNO | EPERM);
    const OTHER: Way = Verdict(ERRNO | EAFNOSUPPORT);
    const YES: Way = Verdict(ALLOW);
    let step = |code, value, yes, no| Step { code, value, yes, no };
    Ok(match rule {
        Rule::Allow => return Err(ALLOW),
        Deny(errno) => return Err(ERRNO | errno),
        If { argument: index, bits } => {
            vec![statement(LOAD, argument(index)), step(IF_ANY_BIT, bits, NO, YES)]
        }
        Unless { argument: index, bits } => {
            vec![statement(LOAD, argument(index)), step(IF_ANY_BIT, bits, YES, NO)]
        }
        IfRequest([one, other]) => vec![
            statement(LOAD, argument(1)),
            step(IF_EQUAL, one, NO, Past(0)),
            step(IF_EQUAL, other, NO, YES),
        ],
        Locked { bits, key } => {
            let [low, high] = KEY;
            let half = |shift| u32::try_from(key >> shift & u64::from(u32::MAX)).unwrap_or_default();
            let [key_low, key_high] = [0, 32].map(half);
            let flags = bits.map(|bits| [statement(LOAD, argument(0)), step(IF_ANY_BIT, bits, Past(0), YES)]);
            // Both halves in one comparison: by two, the time would tell who has guessed the first.
            let unlock = [
                statement(LOAD, low),
                statement(XOR, key_low),
                statement(TO_INDEX, 0),
                statement(LOAD, high),
                statement(XOR, key_high),
                statement(OR_INDEX, 0),
                step(IF_EQUAL, 0, YES, NO),
            ];
            flags.into_iter().flatten().chain(unlock).collect()
        }
        Families => {
            let [unix, ipv4, ipv6] = FAMILIES;
            vec![
                statement(LOAD, argument(0)),
                step(IF_EQUAL, unix, YES, Past(0)),
                step(IF_EQUAL, ipv4, YES, Past(0)),
                step(IF_EQUAL, ipv6, YES, Past(0)),
                step(IF_EQUAL, NETLINK, Past(0), OTHER),
                statement(LOAD, argument(2)),
                step(IF_EQUAL, 0, YES, OTHER),
            ]
        }
    })
}

/// What has one way on.
fn statement(code: u16, value: u32) -> Step {
    Step { code, value, yes: Past(0), no: Past(0) }
}

fn instruction(code: u16, yes: u8, no: u8, value: u32) -> Instruction {
    let [first, second] = code.to_ne_bytes();
    let mut bytes = [first, second, yes, no, 0, 0, 0, 0];
    for (place, byte) in bytes.iter_mut().skip(4).zip(value.to_ne_bytes()) {
        *place = byte;
    }
    Instruction::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do.
    fn run(program: &[Instruction], architecture: u32, number: u32, args: [u64; 6]) -> u32 {
        walk(program, architecture, number, args).0
    }

    /// And the way there.
    fn walk(
        program: &[Instruction],
        architecture: u32,
        number: u32,
        args: [u64; 6],
    ) -> (u32, Vec<Instruction>) {
        let (mut at, mut value, mut index, mut way) = (0, 0, 0, Vec::new());
        for _ in 0..program.len() {
            way.push(program[at]);
            let bytes = program[at].to_ne_bytes();
            let (yes, no) = (bytes[2], bytes[3]);
            let code = u16::from_ne_bytes(*bytes.first_chunk().unwrap());
            let k = u32::from_ne_bytes(*bytes.last_chunk().unwrap());
            let skip = |condition| usize::from(if condition { yes } else { no });
            at += 1;
            match code {
                LOAD if k == NUMBER => value = number,
                LOAD if k == ARCHITECTURE => value = architecture,
                LOAD => {
                    let (place, half) = ((k as usize - 16) / 8, (k - 16) % 8);
                    value = (args[place] >> (8 * half) & 0xffff_ffff).try_into().unwrap();
                }
                IF_EQUAL => at += skip(value == k),
                IF_AT_LEAST => at += skip(value >= k),
                IF_ANY_BIT => at += skip(value & k != 0),
                XOR => value ^= k,
                TO_INDEX => index = value,
                OR_INDEX => value |= index,
                RETURN => return (k, way),
                _ => panic!("unknown instruction {code:#x}"),
            }
        }
        panic!("the program does not end");
    }

    fn verdict(number: u32, args: [u64; 6]) -> u32 {
        run(&compile(None), NATIVE, number, args)
    }

    fn number(name: &str) -> u32 {
        CALLS.iter().find(|(call, ..)| *call == name).unwrap().1.try_into().unwrap()
    }

    const PERM: u32 = ERRNO | EPERM;

    #[test]
    fn each_number_has_the_verdict_of_the_list() {
        let program = compile(None);
        for number in 0..UNKNOWN + 100 {
            let listed = CALLS.iter().find(|(_, listed, _)| u32::try_from(*listed) == Ok(number));
            let verdict = run(&program, NATIVE, number, [0; 6]);
            match listed.map(|(_, _, rule)| *rule) {
                Some(Deny(errno)) => assert_eq!(verdict, ERRNO | errno, "{number}"),
                Some(Unless { .. }) => assert_eq!(verdict, PERM, "{number}"),
                Some(Families) => assert_eq!(verdict, ERRNO | EAFNOSUPPORT, "{number}"),
                None if number >= UNKNOWN => assert_eq!(verdict, ERRNO | ENOSYS, "{number}"),
                _ => assert_eq!(verdict, ALLOW, "{number}"),
            }
        }
    }

    #[test]
    fn it_is_short_enough_for_every_jump() {
        assert!(compile(Some(u64::MAX)).len() <= 256);
        let rules = CALLS.iter().map(|(_, _, rule)| *rule);
        let verdicts = rules.filter_map(|rule| leaf(rule).err()).chain([ALLOW, KILL]);
        assert!(verdicts.into_iter().all(|verdict| VERDICTS.contains(&verdict)));
    }

    #[test]
    fn only_the_key_opens_what_is_locked_and_nothing_else() {
        const SECRET: u64 = 0x1234_5678_9abc_def0;
        let (open, closed) = (compile(Some(SECRET)), compile(None));
        let locked: Vec<u32> = LOCKED.iter().map(|name| number(name)).collect();
        for number in 0..UNKNOWN + 10 {
            for first in [0, 1, 16, 0x1000_0000, u64::MAX] {
                let with = |key| [first, 8, 9, 0, 0, key];
                let expected = run(&closed, NATIVE, number, with(0));
                for wrong in [0, u64::MAX, SECRET ^ 1, SECRET ^ 1 << 32, SECRET << 32, SECRET >> 32] {
                    assert_eq!(run(&open, NATIVE, number, with(wrong)), expected, "{number} {wrong:#x}");
                }
                let expected = if locked.contains(&number) { ALLOW } else { expected };
                assert_eq!(run(&open, NATIVE, number, with(SECRET)), expected, "{number}");
            }
        }
    }

    #[test]
    fn all_wrong_keys_go_the_same_way() {
        const SECRET: u64 = 0x1234_5678_9abc_def0;
        let program = compile(Some(SECRET));
        for name in LOCKED {
            let way = |key| walk(&program, NATIVE, number(name), [u64::MAX, 0, 0, 0, 0, key]).1;
            for wrong in [SECRET ^ 1 << 63, SECRET ^ 1, u64::MAX] {
                assert_eq!(way(wrong), way(0), "{name}");
            }
            assert_ne!(way(SECRET), way(0), "{name}");
        }
    }

    #[test]
    fn another_architecture_is_killed_and_x32_unknown() {
        assert_eq!(run(&compile(None), NATIVE ^ 1, 0, [0; 6]), KILL);
        assert_eq!(verdict(0x4000_0000, [0; 6]), ERRNO | ENOSYS);
        assert_eq!(verdict(u32::MAX, [0; 6]), ERRNO | ENOSYS);
    }

    #[test]
    fn flags_decide() {
        for bit in [17, 25, 26, 27, 28, 29, 30] {
            assert_eq!(verdict(number("clone"), [1 << bit | 0x11, 0, 0, 0, 0, 0]), PERM, "{bit}");
            assert_eq!(verdict(number("unshare"), [1 << bit, 0, 0, 0, 0, 0]), PERM, "{bit}");
        }
        // What a thread is made with, and `fork`.
        assert_eq!(verdict(number("clone"), [0x3d_0f00, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict(number("clone"), [0x0120_0011, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict(number("unshare"), [0x400, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict(number("memfd_create"), [0, 1, 0, 0, 0, 0]), PERM);
        assert_eq!(verdict(number("memfd_create"), [0, 0x10, 0, 0, 0, 0]), PERM);
        assert_eq!(verdict(number("memfd_create"), [0, 9, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict(number("ioctl"), [0, 0x5412, 0, 0, 0, 0]), PERM);
        assert_eq!(verdict(number("ioctl"), [0, 0xffff_ffff_0000_541c, 0, 0, 0, 0]), PERM);
        assert_eq!(verdict(number("ioctl"), [0, 0x5413, 0, 0, 0, 0]), ALLOW);
    }

    #[test]
    fn only_few_families_are_left() {
        let socket = |family, protocol| verdict(number("socket"), [family, 1, protocol, 0, 0, 0]);
        for family in 0..64 {
            let allowed = [1, 2, 10].contains(&family);
            assert_eq!(socket(family, 9), if allowed { ALLOW } else { ERRNO | EAFNOSUPPORT }, "{family}");
        }
        assert_eq!(socket(16, 0), ALLOW);
    }
}
