/* Region files: read, scored by, measured by, written again. */
#include <noken/noken.h>
#include <string.h>

#include "fuzz.h"
#include "geometry/region.h"
#include "plot/ellipse.h"

const char *const fuzz_words[] = {"\"mean\":{",
                                  "\"covariance\":{",
                                  "\"calibration\":{",
                                  "\"tokens\":{",
                                  "\"own.l2\":{",
                                  "\"dtype\":\"F64\"",
                                  "\"dtype\":\"BF16\"",
                                  "\"shape\":[0]",
                                  "\"shape\":[3,2]",
                                  "mahalanobis",
                                  "subspace",
                                  "combined",
                                  "knn",
                                  "cosine",
                                  NULL};

static void use_region(struct nk_region *region, struct nk_output *output) {
  enum { ROWS = 3, MAX_DIM = 64 };
  static float x[ROWS * MAX_DIM];
  double scores[ROWS], p_values[ROWS];
  if (region->dim > MAX_DIM) return;
  for (size_t i = 0; i < ROWS * MAX_DIM; i++) x[i] = (float)(i % 7) - 3;
  (void)nk_region_score(region, x, ROWS, scores, p_values);
  for (int metric = 0; metric < NK_N_METRICS; metric++) {
    const double *own = nki_region_own(region, (enum nk_metric)metric);
    if (own != NULL) fuzz_use(own, region->tokens->n * sizeof *own);
    (void)nki_region_distances(region, (enum nk_metric)metric, x, ROWS, scores);
  }
  struct plot_normal normal;
  const struct nk_pca *basis = nk_region_basis(region);
  if (basis != NULL) (void)plot_project_region(region, basis, 0, 1, &normal);
  (void)nk_region_write(region, output);
}

static void read_all(const void *data, size_t size) {
  const char *path = fuzz_file(0, data, size);
  struct nk_output *output = nk_output_open("/dev/null", NK_OUTPUT_BINARY);
  fuzz_memory_begin(size);
  struct nk_region *region = nk_region_read(path);
  if (region != NULL) use_region(region, output);
  nk_region_free(region);
  fuzz_memory_end();
  nk_output_free(output);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  read_all(data, size);
  static uint8_t again[1 << 17];
  if (size < 10 || size > sizeof again) return 0;
  memcpy(again, data, size); /* with the header's true length */
  size_t length = 0;
  for (size_t at = 8; at + 2 < size && length == 0; at++)
    if (memcmp(again + at, "]}}", 3) == 0) length = at + 3 - 8;
  while (length > 0 && 8 + length < size && again[8 + length] == ' ') length++;
  uint64_t header = length;
  memcpy(again, &header, sizeof header);
  read_all(again, size);
  return 0;
}
