/* Errors, beyond what base.h exports. */
#ifndef NOKEN_BASE_ERROR_H
#define NOKEN_BASE_ERROR_H

/* For a function that was given NULL for an object: keeps the message of the call that failed to
 * make the object, so that a chain of calls needs one check at its end, and returns its code;
 * NK_EUSAGE with a message of its own when there was no failure before. */
int nki_fail_null(void);

/* Takes back the thread's last failure: for a function that succeeds although a call in it
 * failed. */
void nki_clear_error(void);

#endif
