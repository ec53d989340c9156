/* The choice of OpenBLAS's kernels, apart from the processor at hand, so that it can be tested. */
#ifndef NOKEN_BASE_BLAS_H
#define NOKEN_BASE_BLAS_H

/* Sets of instructions, each a bit larger than those of the slower kernels. */
enum {
  NKI_CPU_SSE42 = 1,
  NKI_CPU_AVX = 2,
  NKI_CPU_AVX2_FMA = 4,
  NKI_CPU_AVX512 = 8, /* F, CD, BW, DQ and VL */
};

/* Those that this processor and its operating system offer. */
unsigned nki_cpu_features(void);

/* The core type whose kernels are faster than those running on a processor with these features;
 * NULL where there is none, or the name is not known. */
const char *nki_blas_faster(const char *running, unsigned features);

#endif
