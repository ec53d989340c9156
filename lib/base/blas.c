/* Which of OpenBLAS's kernels run, and whether this processor could run faster ones. OpenBLAS knows
 * processors by family and model: a release older than the processor takes the slowest kernels, up
 * to seven times slower than those that the processor's instructions allow. OPENBLAS_CORETYPE, read
 * when OpenBLAS is loaded, overrides that. */
#include "base/blas.h"

#include <noken/base.h>
#include <stddef.h>
#include <string.h>

char *openblas_get_corename(void); /* cblas.h of some releases leaves it out */

/* What the kernels of each name need, slowest first. Names that are not here are left alone. */
static const struct {
  const char *name;
  unsigned needs;
} kernels[] = {
    {"Katmai", 0},
    {"Coppermine", 0},
    {"Northwood", 0},
    {"Athlon", 0},
    {"Banias", 0},
    {"Opteron", 0},
    {"Opteron_SSE3", 0},
    {"Prescott", 0},
    {"Nano", 0},
    {"Atom", 0},
    {"Bobcat", 0},
    {"Barcelona", 0},
    {"Core2", 0},
    {"Penryn", 0},
    {"Dunnington", 0},
    {"Nehalem", NKI_CPU_SSE42},
    {"Bulldozer", NKI_CPU_AVX},
    {"Piledriver", NKI_CPU_AVX},
    {"Steamroller", NKI_CPU_AVX},
    {"Excavator", NKI_CPU_AVX},
    {"Sandybridge", NKI_CPU_AVX},
    {"Zen", NKI_CPU_AVX2_FMA},
    {"Haswell", NKI_CPU_AVX2_FMA},
    {"SkylakeX", NKI_CPU_AVX512},
    {"Cooperlake", NKI_CPU_AVX512},
    {"SapphireRapids", NKI_CPU_AVX512},
};
enum { N_KERNELS = sizeof kernels / sizeof kernels[0] };

/* The kernels taken for each set of instructions, most capable first. Cooperlake's and
 * SapphireRapids' kernels differ from SkylakeX's in bfloat16 products alone, which are not used. */
static const char *const preferred[] = {"SkylakeX", "Haswell", "Sandybridge", "Nehalem"};

static size_t find(const char *name) {
  size_t k = 0;
  while (k < N_KERNELS && strcmp(kernels[k].name, name) != 0) k++;
  return k;
}

const char *nki_blas_faster(const char *running, unsigned features) {
  size_t now = find(running);
  if (now == N_KERNELS) return NULL;
  for (size_t p = 0; p < sizeof preferred / sizeof preferred[0]; p++) {
    size_t k = find(preferred[p]);
    if ((kernels[k].needs & ~features) != 0) continue;
    return kernels[k].needs > kernels[now].needs ? preferred[p] : NULL;
  }
  return NULL;
}

unsigned nki_cpu_features(void) {
  unsigned features = 0;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("sse4.2")) features |= NKI_CPU_SSE42;
  if (__builtin_cpu_supports("avx")) features |= NKI_CPU_AVX;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) features |= NKI_CPU_AVX2_FMA;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    features |= NKI_CPU_AVX512;
#endif
  return features;
}

const char *nk_blas_kernels(void) {
  return openblas_get_corename();
}

const char *nk_blas_faster(void) {
  const char *running = nk_blas_kernels();
  const char *faster = nki_blas_faster(running, nki_cpu_features());
  if (faster != NULL)
    nk_warn(
        "OpenBLAS does not know this processor and runs its %s kernels: set OPENBLAS_CORETYPE=%s, "
        "which is several times faster",
        running, faster);
  return faster;
}
