/* NKI_CLONES before a function: compiled for several instruction sets, chosen when the library is
 * loaded. The levels of x86-64 are detected by feature, so that processors of all makers
 * match (arch=haswell matches Intel's only). Sanitizers instrument the choosing code, which runs
 * before they are initialized, so their builds have the plain version only. */
#ifndef NOKEN_BASE_CLONES_H
#define NOKEN_BASE_CLONES_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define NKI_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define NKI_CLONES
#endif

#endif
