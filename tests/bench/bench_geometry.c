/* Geometry on a matrix of GPT-2's shape, 50,257 rows of 768, against the BLAS and LAPACK calls that
 * the work cannot do without, timed in the same run, turn about. `bench_geometry NAME...` runs the
 * named parts only: stats, mahalanobis, pca, region, fit, knn, balls, glitch.
 *
 * On paper, 128,256 rows of 4,096 at 330 Gflop/s: covariance 2.2 Tflop, 7 s; Mahalanobis distances
 * as much again; k-NN of all rows 67 Tflop, 205 s. */
#include "bench.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <noken/noken.h>
#include "base/random.h"

enum { N = 50257, DIM = 768, COMPONENTS = 50, SCORED = 10000, K = 10, REPEATS = 5 };

static float *matrix; /* [N, DIM] */

static void *checked(void *pointer) {
  if (pointer != NULL) return pointer;
  fprintf(stderr, "%s\n", nk_error());
  exit(2);
}

static void check(int code) {
  if (code != NK_OK) checked(NULL);
}

/* Correlated normal rows with a few large directions and their own lengths, as embeddings are. */
static void make_matrix(void) {
  enum { FACTORS = 48 };
  float *factors = checked(nk_alloc(FACTORS * DIM, sizeof *factors));
  float *scores = checked(nk_alloc((size_t)N * FACTORS, sizeof *scores));
  matrix = checked(nk_alloc((size_t)N * DIM, sizeof *matrix));
#pragma omp parallel for
  for (size_t i = 0; i < N; i++) {
    struct nki_random random = nki_random_stream(1, NKI_RANDOM_TEST, i);
    double size = exp(0.2 * nki_random_normal(&random));
    for (size_t j = 0; j < FACTORS; j++)
      scores[i * FACTORS + j] = (float)(size * nki_random_normal(&random));
    for (size_t j = 0; j < DIM; j++)
      matrix[i * DIM + j] = (float)(0.3 + size * 0.13 * nki_random_normal(&random));
  }
  struct nki_random random = nki_random_stream(2, NKI_RANDOM_TEST, 0);
  for (size_t i = 0; i < FACTORS * DIM; i++)
    factors[i] = (float)(0.05 * nki_random_normal(&random) * 8 / (double)(8 + i / DIM));
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, DIM, FACTORS, 1, scores, FACTORS,
              factors, DIM, 1, matrix, DIM);
  nk_free(factors);
  nk_free(scores);
}

static void write_matrix(const char *path) {
  struct nk_vectors *set = checked(nk_vectors_new(N, DIM, matrix, true));
  struct nk_output *output = checked(nk_output_open(path, NK_OUTPUT_BINARY));
  check(nk_vectors_write(set, output));
  check(nk_output_commit(output));
  nk_output_free(output);
  nk_vectors_free(set);
}

/* Least times of two works, run turn about. */
struct pair {
  double ours, yardstick;
};

static struct pair turn_about(int repeats, void (*ours)(void), void (*yardstick)(void)) {
  struct pair least = {1e300, 1e300};
  for (int i = 0; i < repeats; i++) {
    double start = bench_now();
    yardstick();
    double middle = bench_now();
    ours();
    double end = bench_now();
    if (middle - start < least.yardstick) least.yardstick = middle - start;
    if (end - middle < least.ours) least.ours = end - middle;
  }
  return least;
}

static void report(const char *name, struct pair pair, double limit) {
  printf("%s: %.3f s, yardstick %.3f s\n", name, pair.ours, pair.yardstick);
  bench_ratio(name, pair.ours / pair.yardstick, limit);
}

/* ---- Column means and distances against one read of the matrix ---- */

static volatile double sink;

static void read_once(void) {
  double sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
  for (size_t block = 0; block < N; block++) {
    const float *row = matrix + block * DIM;
    float part[64] = {0};
    for (size_t j = 0; j < DIM; j += 64)
      for (size_t l = 0; l < 64; l++) part[l] += row[j + l];
    for (size_t l = 0; l < 64; l++) sum += (double)part[l];
  }
  sink = sum;
}

static void distances(void) {
  static double mean[DIM], norm[N], l2[N], cosine[N];
  check(nk_mean(matrix, NULL, N, DIM, mean));
  nk_row_distances(matrix, N, DIM, mean, norm, l2, cosine);
}

/* ---- Mahalanobis ---- */

static float *square, *product; /* [DIM, DIM], [N, DIM] */

static void ssyrk_and_sgemm(void) {
  cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, DIM, N, 1, matrix, DIM, 0, square, DIM);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, DIM, DIM, 1, matrix, DIM, square, DIM,
              0, product, DIM);
}

static void mahalanobis(void) {
  static float out[N];
  struct nk_gaussian *dist =
      checked(nk_gaussian_new(checked(nk_moments_compute(matrix, NULL, N, DIM)), -1, true));
  check(nk_mahalanobis(dist, matrix, N, out));
  nk_gaussian_free(dist);
}

/* ---- PCA ---- */

static void pca_calls(void) {
  static double symmetric[DIM * DIM], values[DIM], vectors[DIM * COMPONENTS];
  static float components[COMPONENTS * DIM], scores[N * COMPONENTS];
  lapack_int found = 0, support[2 * DIM];
  cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, DIM, N, 1, matrix, DIM, 0, square, DIM);
  for (size_t i = 0; i < DIM * DIM; i++) symmetric[i] = (double)square[i];
  LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'L', DIM, symmetric, DIM, 0, 0, DIM - COMPONENTS + 1,
                 DIM, 0, &found, values, vectors, DIM, support);
  for (size_t i = 0; i < COMPONENTS * DIM; i++) components[i] = (float)vectors[i];
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N, COMPONENTS, DIM, 1, matrix, DIM,
              components, DIM, 0, scores, COMPONENTS);
}

static void pca(void) {
  static float scores[N * COMPONENTS];
  struct nk_pca *basis =
      checked(nk_pca_new(checked(nk_moments_compute(matrix, NULL, N, DIM)), COMPONENTS, true));
  check(nk_pca_project(basis, matrix, N, COMPONENTS, false, scores));
  nk_pca_free(basis);
}

/* ---- Regions ---- */

static struct nk_region *region;
static double region_scores[SCORED], region_p[SCORED];

static void region_score(void) {
  check(nk_region_score(region, matrix, SCORED, region_scores, region_p));
}

static void region_sgemm(void) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SCORED, DIM, DIM, 1, matrix, DIM, square,
              DIM, 0, product, DIM);
}

static void region_knn(void) {
  nk_knn_free(checked(nk_knn_search(region->tokens->values, region->n_fit, DIM, matrix, SCORED,
                                    &(struct nk_knn_options){.k = K})));
}

static void bench_regions(void) {
  static const char *const NAMES[NK_N_REGION_KINDS] = {
      [NK_REGION_COMBINED] = "region-combined-to-knn",
      [NK_REGION_MAHALANOBIS] = "region-mahalanobis-to-sgemm",
      [NK_REGION_KNN] = "region-knn-to-knn",
      [NK_REGION_SUBSPACE] = "region-subspace-to-sgemm"};
  struct nk_vectors *set = checked(nk_vectors_new(N / 2, DIM, matrix, true));
  for (int kind = 0; kind < NK_N_REGION_KINDS; kind++) {
    struct nk_region_options options = {
        .kind = (enum nk_region_kind)kind, .k = K, .tokens = NK_TOKENS_F32};
    region = checked(nk_region_fit(set, NULL, N / 4, &options));
    bool knn = kind == NK_REGION_KNN || kind == NK_REGION_COMBINED;
    report(NAMES[kind],
           turn_about(knn ? 2 : REPEATS, region_score, knn ? region_knn : region_sgemm),
           kind == NK_REGION_MAHALANOBIS ? 1.2 : 1.5);
    nk_region_free(region);
  }
  nk_vectors_free(set);
}

/* A region of all rows, beside what fitting it cannot do without: the covariance of the fitting
 * rows and a product that whitens all; the decomposition of a covariance, and the product of the
 * other rows with the components left over; the neighbours of all rows among the fitting ones. */
static struct nk_vectors *all_rows;
static struct nk_region_options fit_options;

static void region_fit(void) {
  nk_region_free(region);
  region = checked(nk_region_fit(all_rows, NULL, 0, &fit_options));
}

static void fit_products(void) {
  static double symmetric[DIM * DIM], values[DIM];
  size_t n_fit = region->n_fit;
  bool combined = region->kind == NK_REGION_COMBINED;
  cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, DIM, (int)n_fit, 1, matrix, DIM, 0, square,
              DIM);
  for (size_t i = 0; i < DIM * DIM; i++) symmetric[i] = (double)square[i];
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, DIM, DIM, 1, matrix, DIM, square, DIM,
              0, product, DIM);
  if (combined || region->kind == NK_REGION_SUBSPACE) {
    LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', DIM, symmetric, DIM, values);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)(N - n_fit),
                (int)(DIM - region->n_components), DIM, 1, matrix, DIM, square, DIM, 0, product,
                DIM);
  }
  if (!combined) return;
  const struct nk_knn_options options = {.k = K};
  nk_knn_free(checked(nk_knn_search(matrix, n_fit, DIM, NULL, 0, &options)));
  nk_knn_free(
      checked(nk_knn_search(matrix, n_fit, DIM, matrix + n_fit * DIM, N - n_fit, &options)));
}

static void bench_fits(void) {
  static const struct {
    enum nk_region_kind kind;
    const char *name;
  } FITS[] = {{NK_REGION_MAHALANOBIS, "region-fit-mahalanobis-to-products"},
              {NK_REGION_SUBSPACE, "region-fit-subspace-to-products"},
              {NK_REGION_COMBINED, "region-fit-combined-to-products"}};
  all_rows = checked(nk_vectors_new(N, DIM, matrix, true));
  region = NULL;
  for (size_t i = 0; i < sizeof FITS / sizeof *FITS; i++) {
    fit_options = (struct nk_region_options){.kind = FITS[i].kind, .k = K};
    region_fit();
    report(FITS[i].name,
           turn_about(FITS[i].kind == NK_REGION_COMBINED ? 1 : REPEATS, region_fit, fit_products),
           2.5);
  }
  nk_region_free(region);
  nk_vectors_free(all_rows);
}

/* ---- k-NN ---- */

static enum nk_metric knn_metric;

static void knn(void) {
  nk_knn_free(checked(nk_knn_search(matrix, N, DIM, NULL, 0,
                                    &(struct nk_knn_options){.k = K, .metric = knn_metric})));
}

static void knn_query(void) {
  nk_knn_free(
      checked(nk_knn_search(matrix, N, DIM, matrix, SCORED, &(struct nk_knn_options){.k = K})));
}

/* The products of the first n rows with all. */
static void knn_products(size_t n) {
  enum { BLOCK = 4096 };
  static float block[BLOCK * BLOCK];
  for (size_t i = 0; i < n; i += BLOCK)
    for (size_t j = 0; j < N; j += BLOCK) {
      int rows = (int)(n - i < BLOCK ? n - i : BLOCK),
          columns = (int)(N - j < BLOCK ? N - j : BLOCK);
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, DIM, 1, matrix + i * DIM,
                  DIM, matrix + j * DIM, DIM, 0, block, columns);
    }
}

static void knn_sgemm(void) {
  knn_products(N);
}

static void knn_query_sgemm(void) {
  knn_products(SCORED);
}

/* A set with itself by half of the products, and other rows by all of theirs. */
static void bench_knn(void) {
  knn_metric = NK_METRIC_L2;
  report("knn-to-sgemm", turn_about(1, knn, knn_sgemm), 0.65);
  knn_metric = NK_METRIC_COSINE;
  report("knn-cosine-to-sgemm", turn_about(1, knn, knn_sgemm), 0.65);
  report("knn-query-to-sgemm", turn_about(2, knn_query, knn_query_sgemm), 1.25);
}

/* Rows in tight balls, which float products cannot tell apart, beside as many that they can. */
enum { BALLS = 400, IN_BALLS = 20000 };
static float *balls; /* [IN_BALLS, DIM] */

static void make_balls(void) {
  balls = checked(nk_alloc((size_t)IN_BALLS * DIM, sizeof *balls));
  for (size_t i = 0; i < IN_BALLS; i++) {
    struct nki_random random = nki_random_stream(3, NKI_RANDOM_TEST, i);
    for (size_t j = 0; j < DIM; j++)
      balls[i * DIM + j] = matrix[i % BALLS * DIM + j] + (float)(1e-5 * nki_random_normal(&random));
  }
}

static void knn_balls(void) {
  nk_knn_free(checked(nk_knn_search(balls, IN_BALLS, DIM, NULL, 0, NULL)));
}

static void knn_cloud(void) {
  nk_knn_free(checked(nk_knn_search(matrix, IN_BALLS, DIM, NULL, 0, NULL)));
}

/* ---- nk-glitch, of a tied matrix ---- */

enum { N_UNUSED = 200, N_KNOWN = 13, DRAWN = 4096 };

static struct nk_glitch_options glitch_options = {.knn_rows = DRAWN};

/* The first rows become those of tokens that training never showed. */
static void make_unused(void) {
  for (size_t i = 0; i < N_UNUSED; i++) {
    struct nki_random random = nki_random_stream(4, NKI_RANDOM_TEST, i);
    for (size_t j = 0; j < DIM; j++)
      matrix[i * DIM + j] = (float)(0.25 + 0.02 * nki_random_normal(&random));
  }
}

static void glitch(void) {
  int64_t unused[N_KNOWN];
  for (int i = 0; i < N_KNOWN; i++) unused[i] = i;
  nk_glitch_free(checked(nk_glitch_of_sets(all_rows, NULL, unused, N_KNOWN, &glitch_options)));
}

/* One read, the covariance, a product that whitens; and of the column input_knn that with the drawn
 * rows. */
static void glitch_products(void) {
  read_once();
  ssyrk_and_sgemm();
  if (glitch_options.knn_k == 0) return;
  static float block[DRAWN * DRAWN];
  for (size_t i = 0; i < N; i += DRAWN)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)(N - i < DRAWN ? N - i : DRAWN),
                DRAWN, DIM, 1, matrix + i * DIM, DIM, matrix, DIM, 0, block, DRAWN);
}

static void bench_glitch(void) {
  make_unused();
  all_rows = checked(nk_vectors_new(N, DIM, matrix, true));
  report("glitch-to-read-and-products", turn_about(REPEATS, glitch, glitch_products), 2.5);
  glitch_options.knn_k = K;
  report("glitch-with-knn-to-read-and-products", turn_about(2, glitch, glitch_products), 2.5);
  nk_vectors_free(all_rows);
}

/* ---- Tools: their memory, and scikit-learn ---- */

static void bench_memory(const char *name, const char *arguments, const char *set,
                         double mebibytes) {
  char command[8192];
  snprintf(command, sizeof command, "%s/%s %s >/dev/null", bench_tools(), arguments, set);
  struct bench_child child = bench_command(command);
  double own = (double)N * DIM * 4 / 1048576;
  printf("%s: %.2f s, %.0f MiB resident, the matrix is %.0f MiB\n", arguments, child.seconds,
         child.mebibytes, own);
  bench_ratio(name, child.mebibytes / (own + mebibytes), 1);
}

static void bench_scikit_learn(const char *set, double ours) {
  char command[8192];
  snprintf(command, sizeof command,
           "env -u OPENBLAS_CORETYPE /usr/bin/python3 - <<'P' >%s.time 2>/dev/null\n"
           "import time, numpy, sklearn.decomposition as s\n"
           "f = open('%s', 'rb'); n = int.from_bytes(f.read(8), 'little')\n"
           "h = __import__('json').loads(f.read(n))['vectors']['data_offsets'][0]\n"
           "x = numpy.fromfile('%s', numpy.float32, %d * %d, offset=8 + n + h).reshape(-1, %d)\n"
           "t = []\n"
           "for i in range(%d):\n"
           "  b = time.time(); s.PCA(%d).fit_transform(x); t.append(time.time() - b)\n"
           "print(min(t))\nP",
           set, set, set, N, DIM, DIM, REPEATS, COMPONENTS);
  char path[4200];
  snprintf(path, sizeof path, "%s.time", set);
  double theirs = 0;
  int status = system(command);
  FILE *file = fopen(path, "r");
  if (status != 0 || file == NULL || fscanf(file, "%lf", &theirs) != 1) {
    printf("scikit-learn is not installed: no comparison\n");
  } else {
    printf("scikit-learn's PCA(%d).fit_transform: %.3f s\n", COMPONENTS, theirs);
    bench_ratio("pca-to-scikit-learn", ours / theirs, 0.4);
  }
  if (file != NULL) fclose(file);
  unlink(path);
}

static bool wanted(int argc, char **argv, const char *name) {
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], name) == 0) return true;
  return argc == 1;
}

/* The tools are measured by a child each, and those before this program has grown: a child's size
 * begins as its parent's. The matrix is therefore made by a child too. */
static void bench_tools_memory(int argc, char **argv, const char *set) {
  pid_t child = fork();
  if (child == 0) {
    make_matrix();
    write_matrix(set);
    _exit(0);
  }
  int status = 1;
  if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) exit(2);
  if (wanted(argc, argv, "stats")) {
    bench_memory("stats-memory", "nk-stats", set, 64);
    bench_memory("stats-summary-memory", "nk-stats --no-mahalanobis --summary", set, 64);
  }
  if (wanted(argc, argv, "knn")) bench_memory("knn-memory", "nk-knn --summary", set, 512);
}

int main(int argc, char **argv) {
  char folder[] = "/tmp/noken-bench-XXXXXX", set[64];
  if (mkdtemp(folder) == NULL) return 2;
  snprintf(set, sizeof set, "%s/set.safetensors", folder);
  bench_title("geometry, 50,257 x 768");
  bench_tools_memory(argc, argv, set);
  make_matrix();
  square = checked(nk_calloc(DIM * DIM, sizeof *square));
  product = checked(nk_alloc((size_t)N * DIM, sizeof *product));
  if (wanted(argc, argv, "stats"))
    report("distances-to-one-read", turn_about(4 * REPEATS, distances, read_once), 3);
  if (wanted(argc, argv, "mahalanobis"))
    report("mahalanobis-to-ssyrk-sgemm", turn_about(REPEATS, mahalanobis, ssyrk_and_sgemm), 1.5);
  if (wanted(argc, argv, "pca")) {
    struct pair pair = turn_about(REPEATS, pca, pca_calls);
    report("pca-to-its-calls", pair, 1.6);
    bench_scikit_learn(set, pair.ours);
  }
  if (wanted(argc, argv, "region")) bench_regions();
  if (wanted(argc, argv, "knn")) bench_knn();
  if (wanted(argc, argv, "fit")) bench_fits();
  if (wanted(argc, argv, "balls")) {
    make_balls();
    report("knn-balls-to-knn", turn_about(2, knn_balls, knn_cloud), 4);
  }
  if (wanted(argc, argv, "glitch")) bench_glitch();
  unlink(set);
  rmdir(folder);
  return bench_over;
}
