/* The one pool of threads: OpenMP's, shared by the library's loops, OpenBLAS (its OpenMP build) and
 * FAISS. */
#ifndef NOKEN_THREADS_H
#define NOKEN_THREADS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sets how many threads every parallel part takes; 0: as many as the machine has cores for this
 * process (or OMP_NUM_THREADS says). */
void nk_set_threads(size_t n);
size_t nk_threads(void);

/* The version of the library, "0.1.0". */
const char *nk_version(void);

#ifdef __cplusplus
}
#endif
#endif
