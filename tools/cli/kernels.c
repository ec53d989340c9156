/* OpenBLAS reads OPENBLAS_CORETYPE once, when it is loaded: another choice needs a new start. */
#include "cli/kernels.h"

#include <noken/noken.h>
#include <stdlib.h>
#include <unistd.h>

static const char core_type[] = "OPENBLAS_CORETYPE", chosen[] = "NOKEN_OPENBLAS_CHOICE";

static bool is_set(const char *name) {
  const char *value = getenv(name);
  return value != NULL && value[0] != 0;
}

void cli_start_with_fast_kernels(char **argv) {
  if (is_set(core_type)) return;
  const char *faster = nk_blas_faster();
  if (faster == NULL) return;
  setenv(chosen, nk_blas_kernels(), 1);
  setenv(core_type, faster, 1);
  execv("/proc/self/exe", argv);
  unsetenv(core_type); /* no /proc: the slow kernels do the work */
  unsetenv(chosen);
}

void cli_describe_kernels(struct nk_buffer *out) {
  nk_buffer_printf(out, "OpenBLAS kernels: %s, ", nk_blas_kernels());
  if (is_set(chosen))
    nk_buffer_printf(out, "chosen by noken: OpenBLAS does not know this processor and chose %s\n",
                     getenv(chosen));
  else if (is_set(core_type))
    nk_buffer_printf(out, "set by OPENBLAS_CORETYPE\n");
  else
    nk_buffer_printf(out, "chosen by OpenBLAS\n");
}
