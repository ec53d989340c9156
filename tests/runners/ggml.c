/* Quantized blocks through noken and through ggml, whose format they are.
 *
 *   ggml             over random blocks of every type: how many values are compared, how many have
 *                    other bits (a NaN is any NaN), and the types that differ
 *   ggml fixture     tests/fixtures/gguf/blocks.tsv: type, bytes of blocks, bits of ggml's floats
 *   ggml rounding F32.gguf Q8_0.gguf    the bytes of Q8_0 matrices that are compared with what ggml
 *                    makes of the F32 ones, and how many differ
 *   ggml tensors MODEL.gguf    the values of a file's quantized tensors that are compared, and how
 *                    many differ
 *
 * Built by llama.sh, for tests only. */
#include <math.h>
#include <noken/noken.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml.h"

enum { N_BLOCKS = 4096, N_FIXED = 2 };

static const struct {
  enum ggml_type theirs;
  enum nk_dtype ours;
  int scales[2]; /* where a block has half floats; -1: no other */
} types[] = {
    {GGML_TYPE_Q4_0, NK_Q4_0, {0, -1}},     {GGML_TYPE_Q4_1, NK_Q4_1, {0, 2}},
    {GGML_TYPE_Q5_0, NK_Q5_0, {0, -1}},     {GGML_TYPE_Q5_1, NK_Q5_1, {0, 2}},
    {GGML_TYPE_Q8_0, NK_Q8_0, {0, -1}},     {GGML_TYPE_Q2_K, NK_Q2_K, {80, 82}},
    {GGML_TYPE_Q3_K, NK_Q3_K, {108, -1}},   {GGML_TYPE_Q4_K, NK_Q4_K, {0, 2}},
    {GGML_TYPE_Q5_K, NK_Q5_K, {0, 2}},      {GGML_TYPE_Q6_K, NK_Q6_K, {208, -1}},
    {GGML_TYPE_IQ4_NL, NK_IQ4_NL, {0, -1}}, {GGML_TYPE_IQ4_XS, NK_IQ4_XS, {0, -1}},
    {GGML_TYPE_MXFP4, NK_MXFP4, {-1, -1}},
};
enum { N_TYPES = sizeof types / sizeof *types };

static uint64_t state = 1;

static unsigned next_byte(void) { /* xorshift64 */
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (unsigned)(state >> 56);
}

/* Random bytes; with `finite`, scales are half floats of moderate size. */
static void fill(unsigned char *bytes, size_t n_blocks, size_t size, const int scales[2],
                 bool finite) {
  for (size_t i = 0; i < n_blocks * size; i++) bytes[i] = (unsigned char)next_byte();
  for (size_t b = 0; b < n_blocks && finite; b++)
    for (int s = 0; s < 2; s++)
      if (scales[s] >= 0) {
        unsigned char *high = bytes + b * size + scales[s] + 1;
        *high = (unsigned char)((*high & 0x83) | 0x28);
      }
}

static void widen(size_t t, const unsigned char *bytes, size_t n_blocks, float *ours,
                  float *theirs) {
  const size_t n = n_blocks * (size_t)ggml_blck_size(types[t].theirs);
  struct nk_tensor tensor = {.name = "blocks",
                             .dtype = types[t].ours,
                             .n_dims = 1,
                             .shape = {n},
                             .n_elements = n,
                             .n_bytes = n_blocks * ggml_type_size(types[t].theirs),
                             .data = bytes};
  ggml_get_type_traits(types[t].theirs)->to_float(bytes, theirs, (int64_t)n);
  if (nk_model_rows(&tensor, 0, 1, ours) != NK_OK) {
    fprintf(stderr, "ggml: %s\n", nk_error());
    exit(2);
  }
}

static size_t n_differing(const float *ours, const float *theirs, size_t n) {
  size_t n_differ = 0;
  for (size_t i = 0; i < n; i++)
    n_differ +=
        memcmp(&ours[i], &theirs[i], sizeof *ours) != 0 && !(isnan(ours[i]) && isnan(theirs[i]));
  return n_differ;
}

static size_t compare(size_t t, size_t *n_values) {
  size_t size = ggml_type_size(types[t].theirs), n_differ = 0;
  size_t n = (size_t)ggml_blck_size(types[t].theirs) * N_BLOCKS;
  unsigned char *bytes = malloc(N_BLOCKS * size);
  float *ours = malloc(n * sizeof *ours), *theirs = malloc(n * sizeof *theirs);
  for (int finite = 0; finite < 2; finite++) {
    fill(bytes, N_BLOCKS, size, types[t].scales, finite);
    widen(t, bytes, N_BLOCKS, ours, theirs);
    n_differ += n_differing(ours, theirs, n);
    *n_values += n;
  }
  free(bytes);
  free(ours);
  free(theirs);
  if (n_differ > 0) printf("%s: %zu values differ\n", ggml_type_name(types[t].theirs), n_differ);
  return n_differ;
}

static void print_fixture(size_t t) {
  unsigned char bytes[N_FIXED * 512];
  float ours[N_FIXED * 256], theirs[N_FIXED * 256];
  size_t size = ggml_type_size(types[t].theirs);
  size_t n = N_FIXED * (size_t)ggml_blck_size(types[t].theirs);
  fill(bytes, N_FIXED, size, types[t].scales, true);
  if (types[t].ours == NK_MXFP4) bytes[0] = 125, bytes[size] = 1; /* the second is subnormal */
  widen(t, bytes, N_FIXED, ours, theirs);
  printf("%s\t", nk_dtype_names[types[t].ours]);
  for (size_t i = 0; i < N_FIXED * size; i++) printf("%02x", bytes[i]);
  printf("\t");
  for (size_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, &theirs[i], sizeof bits);
    printf("%08x", bits);
  }
  printf("\n");
}

static const struct nk_model *open_model(const char *path) {
  const struct nk_model *model = nk_model_open(path);
  if (model != NULL) return model;
  fprintf(stderr, "ggml: %s\n", nk_error());
  exit(2);
}

static int compare_tensors(const char *path) {
  const struct nk_model *model = open_model(path);
  size_t n_values = 0, n_differ = 0;
  for (size_t i = 0; i < nk_model_n_tensors(model); i++) {
    const struct nk_tensor *tensor = nk_model_tensor(model, i);
    size_t t = 0, n = tensor->n_elements;
    while (t < N_TYPES && types[t].ours != tensor->dtype) t++;
    if (t == N_TYPES) continue;
    float *ours = malloc(n * sizeof *ours), *theirs = malloc(n * sizeof *theirs);
    if (nk_model_rows(tensor, 0, tensor->n_dims == 2 ? tensor->shape[0] : 1, ours) != NK_OK)
      return 2;
    ggml_get_type_traits(types[t].theirs)->to_float(tensor->data, theirs, (int64_t)n);
    n_differ += n_differing(ours, theirs, n);
    n_values += n;
    free(ours);
    free(theirs);
  }
  printf("%zu %zu\n", n_values, n_differ);
  return n_values == 0 || n_differ > 0;
}

/* Both models live as long as the program. */
static int compare_rounding(const char *single, const char *rounded) {
  const struct nk_model *from = open_model(single), *to = open_model(rounded);
  size_t n_bytes = 0, n_differ = 0;
  for (size_t i = 0; i < nk_model_n_tensors(to); i++) {
    const struct nk_tensor *ours = nk_model_tensor(to, i),
                           *source = nk_model_find(from, ours->name);
    if (ours->dtype != NK_Q8_0) continue;
    unsigned char *theirs = malloc(ours->n_bytes);
    ggml_quantize_chunk(GGML_TYPE_Q8_0, source->data, theirs, 0, (int64_t)source->shape[0],
                        (int64_t)source->shape[1], NULL);
    for (size_t k = 0; k < ours->n_bytes; k++)
      n_differ += ((const unsigned char *)ours->data)[k] != theirs[k];
    n_bytes += ours->n_bytes;
    free(theirs);
  }
  printf("%zu %zu\n", n_bytes, n_differ);
  return n_bytes == 0 || n_differ > 0;
}

int main(int argc, char **argv) {
  struct ggml_init_params parameters = {.mem_size = 1 << 16};
  struct ggml_context *context = ggml_init(parameters); /* fills ggml's table of half floats */
  size_t n_differ = 0, n_values = 0;
  if (argc == 3) return compare_tensors(argv[2]);
  if (argc == 4) return compare_rounding(argv[2], argv[3]);
  for (size_t t = 0; t < N_TYPES; t++) {
    if (argc > 1 && strcmp(argv[1], "fixture") == 0)
      print_fixture(t);
    else
      n_differ += compare(t, &n_values);
  }
  if (argc == 1) printf("%zu %zu\n", n_values, n_differ);
  ggml_free(context);
  return n_differ > 0;
}
