/* NKI_CLONES before a function: compiled for several instruction sets, chosen when the library is
 * loaded. The levels of x86-64 are asked of the processor by feature, so that every maker's count
 * (arch=haswell would match Intel's own only). Sanitizers instrument the choosing code before they
 * are ready for it, so they get the plain version. */
#ifndef NOKEN_BASE_CLONES_H
#define NOKEN_BASE_CLONES_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define NKI_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define NKI_CLONES
#endif

#endif
