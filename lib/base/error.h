/* Errors, beyond what base.h exports. */
#ifndef NOKEN_BASE_ERROR_H
#define NOKEN_BASE_ERROR_H

#include <stddef.h>

/* out [size] = text as one line of printable UTF-8, shortened where it does not fit: control bytes
 * and bytes that are not valid UTF-8 are escaped as nk_escape does. Messages quote names and paths
 * from files, which may hold anything. Backslashes are unchanged, so that escaping a message again
 * changes nothing. */
void nki_printable(const char *text, char *out, size_t size);

/* For a function that was given NULL for an object: keeps the message of the call that failed to
 * make the object, so that a chain of calls needs one check at its end, and returns its code;
 * NK_EUSAGE with a message of its own when there was no failure before. */
int nki_fail_null(void);

/* Takes back the thread's last failure: for a function that succeeds although a call in it
 * failed. */
void nki_clear_error(void);

#endif
