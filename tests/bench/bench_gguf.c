/* Quantized weights: how fast they become floats, beside 1 GB of floats a second. */
#include "bench.h"

#include <noken/noken.h>
#include "model/dtype.h"
#include "model/quantized.h"

enum { ROWS = 4096, DIM = 4096, REPEATS = 5 };

struct widening {
  struct nk_tensor tensor;
  float *out;
};

static void widen(void *argument) {
  struct widening *w = argument;
  if (nk_model_rows(&w->tensor, 0, ROWS, w->out) != NK_OK) exit(2);
}

static void measure(enum nk_dtype dtype, const unsigned char *bytes, float *out) {
  struct nki_block_size block = nki_block_size(dtype);
  const size_t n = (size_t)ROWS * DIM;
  struct widening w = {{.name = "blocks",
                        .dtype = dtype,
                        .n_dims = 2,
                        .shape = {ROWS, DIM},
                        .n_elements = n,
                        .n_bytes = n / block.elements * block.bytes,
                        .data = bytes},
                       out};
  char name[64];
  double seconds = bench_min(REPEATS, widen, &w), gigabytes = (double)n * sizeof(float) / 1e9;
  snprintf(name, sizeof name, "widen-%s-to-1GB/s", nk_dtype_names[dtype]);
  printf("%s: %.2f GB of floats a second\n", nk_dtype_names[dtype], gigabytes / seconds);
  bench_ratio(name, seconds / gigabytes, 1);
}

int main(void) {
  const size_t n = (size_t)ROWS * DIM;
  unsigned char *bytes = malloc(n * 2);
  float *out = malloc(n * sizeof *out);
  if (bytes == NULL || out == NULL) return 2;
  for (size_t i = 0; i < n * 2; i++) bytes[i] = (unsigned char)(i * 2654435761u >> 13);
  bench_title("quantized weights of 4,096 x 4,096 to floats, in memory");
  for (int type = NK_Q4_0; type < NK_OTHER; type++) measure((enum nk_dtype)type, bytes, out);
  free(bytes);
  free(out);
  return bench_over;
}
