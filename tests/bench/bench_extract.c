/* nk-extract against cat, on a model made here with GPT-2's embedding matrix: 50,257 rows of 768.
 */
#include "bench.h"

#include <noken/noken.h>
#include "base/random.h"
#include "model/dtype.h"
#include "model/safetensors.h"

enum { ROWS = 50257, DIM = 768, REPEATS = 5 };

/* A safetensors file with one matrix of small random numbers. */
static void make_model(const char *path, enum nk_dtype dtype) {
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  struct nki_safetensors_writer *writer =
      output != NULL ? nki_safetensors_writer_new(output) : NULL;
  struct nk_tensor tensor = {
      .name = "wte.weight", .dtype = dtype, .n_dims = 2, .shape = {ROWS, DIM}};
  int code = writer != NULL ? nki_safetensors_writer_add(writer, &tensor) : NK_EMEMORY;
  if (code == NK_OK) code = nki_safetensors_writer_begin(writer);
  struct nki_random random = nki_random_stream(0, NKI_RANDOM_TEST, 0);
  for (size_t row = 0; row < ROWS && code == NK_OK; row++) {
    float floats[DIM];
    uint16_t halves[DIM];
    for (size_t i = 0; i < DIM; i++) {
      floats[i] = (float)nki_random_uniform(&random) * 0.2f - 0.1f;
      halves[i] = dtype == NK_F16 ? nki_f16_of_float(floats[i]) : nki_bf16_of_float(floats[i]);
    }
    const void *values = dtype == NK_F32 ? (const void *)floats : halves;
    code = nki_safetensors_writer_bytes(writer, values, DIM * nki_dtype_size(dtype));
  }
  if (code == NK_OK) code = nki_safetensors_writer_finish(writer);
  if (code == NK_OK) code = nk_output_commit(output);
  if (code != NK_OK) {
    fprintf(stderr, "%s\n", nk_error());
    exit(2);
  }
  nk_output_free(output);
}

/* Times `nk-extract MODEL` and `cat` of what it writes, each into a pipe that cat empties. */
static void compare(const char *folder, enum nk_dtype dtype, double limit) {
  char model[256], command[1024], name[64];
  const char *type = nk_dtype_names[dtype];
  snprintf(model, sizeof model, "%s/%s.safetensors", folder, type);
  make_model(model, dtype);
  snprintf(command, sizeof command, "%s/nk-extract %s >%s/out", bench_tools(), model, folder);
  bench_command(command);
  snprintf(command, sizeof command, "cat %s/out | cat >/dev/null", folder);
  struct bench_child cat = bench_command_min(REPEATS, command);
  snprintf(command, sizeof command, "%s/nk-extract %s | cat >/dev/null", bench_tools(), model);
  struct bench_child extract = bench_command_min(REPEATS, command);
  printf("extract %s: %.3f s, %.0f MiB resident; cat of its output: %.3f s\n", type,
         extract.seconds, extract.mebibytes, cat.seconds);
  snprintf(name, sizeof name, "extract-%s-to-cat", type);
  bench_ratio(name, extract.seconds / cat.seconds, limit);
  snprintf(name, sizeof name, "extract-%s-memory-to-64MiB", type);
  bench_ratio(name, extract.mebibytes / 64, 1);
  unlink(model);
}

int main(void) {
  char folder[] = "/tmp/noken-bench-XXXXXX", command[64];
  if (mkdtemp(folder) == NULL) return 2;
  bench_title("nk-extract of 50,257 x 768, files in memory, through a pipe");
  compare(folder, NK_F32, 1.5);
  compare(folder, NK_F16, 2.5);
  compare(folder, NK_BF16, 2.5);
  double bytes = 262144.0 * 8192 * 4;
  printf(
      "on paper, 262,144 x 8,192: %.1f GB as F32; %.1f GB are read from an F16 model, and rows "
      "are\nforgotten as they are written, so that memory stays as above\n",
      bytes / 1e9, bytes / 2e9);
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command) != 0 ? 2 : bench_over;
}
