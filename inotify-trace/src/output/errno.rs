//! The names of errors.

use std::borrow::Cow;

macro_rules! names {
    ($($name:ident)*) => {
        /// The name of one of the errors of errno(3).
        fn known(errno: i32) -> Option<&'static str> {
            match errno {
                $(libc::$name => Some(stringify!($name)),)*
                _ => None,
            }
        }

        #[cfg(test)]
        const ALL: &[(i32, &str)] = &[$((libc::$name, stringify!($name))),*];
    };
}

// All of Linux (`include/uapi/asm-generic/errno.h`), without second names for the same number.
names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
    ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG
    ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY
    ELOOP ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR
    EXFULL ENOANO EBADRQC EBADSLT EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK
    EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC
    ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ
    EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT
    EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET
    ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH
    EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM
    EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE
    ERFKILL EHWPOISON
}

/// The name of an errno, as in `ENOENT`. A recording may have any number here.
pub(crate) fn errno_name(errno: i32) -> Cow<'static, str> {
    let name = known(errno).or(match errno {
        // Not for programs: the kernel repeats the call, or makes EINTR of it
        // (`include/linux/errno.h`).
        512 => Some("ERESTARTSYS"),
        513 => Some("ERESTARTNOINTR"),
        514 => Some("ERESTARTNOHAND"),
        516 => Some("ERESTART_RESTARTBLOCK"),
        _ => None,
    });
    name.map_or_else(|| Cow::Owned(format!("errno {errno}")), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_name() {
        // 41 and 58 are second names' numbers that Linux leaves free.
        for errno in (1..=133).filter(|it| ![41, 58].contains(it)) {
            assert!(errno_name(errno).starts_with('E'), "{errno}: {}", errno_name(errno));
        }
        assert_eq!(ALL.len(), 131);
        for (errno, name) in [(4, "EINTR"), (38, "ENOSYS"), (116, "ESTALE"), (75, "EOVERFLOW")] {
            assert_eq!(errno_name(errno), name);
        }
        for &(errno, name) in ALL {
            assert_eq!(errno_name(errno), name);
        }
    }

    #[test]
    fn numbers_that_are_no_errnos_are_shown_as_they_are() {
        for errno in [0, -1, 134, 511, 4096, i32::MIN, i32::MAX] {
            assert_eq!(errno_name(errno), format!("errno {errno}"));
        }
    }
}
