/* Quantized weights: how fast they become floats, beside 1 GB of floats a second; and a vocabulary
 * of 128,256 x 4,096 in Q4_K ranked by nk-glitch, beside 60 seconds and the matrix with 1 GiB. */
#include "bench.h"

#include <noken/noken.h>
#include "gguf.h"
#include "model/dtype.h"
#include "model/quantized.h"

enum { ROWS = 4096, DIM = 4096, REPEATS = 5 };

struct widening {
  struct nk_tensor tensor;
  float *out;
};

static void widen(struct widening *w) {
  if (nk_model_rows(&w->tensor, 0, ROWS, w->out) != NK_OK) exit(2);
}

/* The least time of the repeats, of the processor and shared by the threads: the same as time by
 * the clock on an idle machine, and less disturbed by others on a loaded one. */
static double least_seconds(struct widening *w) {
  double least = 1e300;
  for (int i = 0; i < REPEATS; i++) {
    struct timespec start, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    widen(w);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double seconds =
        (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    if (seconds < least) least = seconds;
  }
  return least / omp_get_max_threads();
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
  double seconds = least_seconds(&w), gigabytes = (double)n * sizeof(float) / 1e9;
  snprintf(name, sizeof name, "widen-%s-to-1GB/s", nk_dtype_names[dtype]);
  printf("%s: %.2f GB of floats a second\n", nk_dtype_names[dtype], gigabytes / seconds);
  bench_ratio(name, seconds / gigabytes, 1);
}

/* ---- nk-glitch ---- */

enum { N_TOKENS = 128256 };

/* A GGUF of one matrix. */
static void make_gguf(const char *path) {
  uint64_t offset = 0;
  FILE *file = fopen(path, "wb");
  if (file == NULL) exit(2);
  gguf_begin(file, 1, 1);
  gguf_text_value(file, "general.architecture", "llama");
  gguf_tensor(file, "token_embd.weight", N_TOKENS, DIM, GGUF_Q4_K, &offset);
  gguf_pad(file);
  gguf_data(file, (size_t)N_TOKENS * DIM, GGUF_Q4_K, 0);
  if (fclose(file) != 0) exit(2);
}

static void rank(void) {
  const char *folder = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
  char path[4096], command[16384];
  snprintf(path, sizeof path, "%s/noken-bench-%d.gguf", folder, (int)getpid());
  make_gguf(path);
  snprintf(command, sizeof command, "%s/nk-glitch -q %s >/dev/null", bench_tools(), path);
  struct bench_child child = bench_command(command);
  double matrix = (double)N_TOKENS * DIM * sizeof(float) / 1048576;
  printf("nk-glitch: %.1f s, %.0f MiB resident\n", child.seconds, child.mebibytes);
  bench_ratio("glitch-Q4_K-128256x4096-to-60s", child.seconds / 60, 1);
  bench_ratio("glitch-Q4_K-128256x4096-memory-to-matrix-and-1GiB",
              child.mebibytes / (matrix + 1024), 1);
  unlink(path);
}

int main(void) {
  const size_t n = (size_t)ROWS * DIM;
  bench_title(
      "quantized weights of 4,096 x 4,096 to floats, in memory; nk-glitch of 128,256 x 4,096");
  unsigned char *bytes = malloc(n * 2);
  float *out = malloc(n * sizeof *out);
  if (bytes == NULL || out == NULL) return 2;
  for (size_t i = 0; i < n * 2; i++) bytes[i] = (unsigned char)(i * 2654435761u >> 13);
  for (int type = NK_Q4_0; type < NK_OTHER; type++) measure((enum nk_dtype)type, bytes, out);
  free(bytes);
  free(out);
  rank();
  return bench_over;
}
