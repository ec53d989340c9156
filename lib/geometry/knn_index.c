/* Searches with an index that FAISS makes from a description. */
#include "geometry/knn_index.h"

#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <math.h>
#include <noken/base.h>
#include <omp.h>
#include <string.h>

#include "geometry/internal.h"

/* Converts what a FAISS call returned into NK_OK or a code with its message. */
static int from_faiss(int status, const char *what) {
  if (status == 0) return NK_OK;
  const char *message = faiss_get_last_error();
  if (message != NULL && strstr(message, "bad_alloc") != NULL)
    return nk_fail(NK_EMEMORY, "FAISS: %s: out of memory", what);
  /* "Error in FUNCTION at FILE:LINE: Error: 'CONDITION' failed: MESSAGE" */
  const char *reason = message != NULL ? strstr(message, "' failed: ") : NULL;
  if (reason != NULL) message = reason + strlen("' failed: ");
  return nk_fail(NK_EDATA, "FAISS: %s: %s", what, message != NULL ? message : "failed");
}

/* FAISS joins rows to a graph in the order in which threads come to them, and what is found then
 * differs from run to run: one thread adds them. */
static int add_rows(FaissIndex *index, const char *description, size_t n, const float *rows) {
  int n_threads = omp_get_max_threads();
  bool is_graph = strstr(description, "HNSW") != NULL || strstr(description, "NSG") != NULL;
  if (is_graph) omp_set_num_threads(1);
  int code = from_faiss(faiss_Index_add(index, (idx_t)n, rows), "adding rows");
  omp_set_num_threads(n_threads);
  return code;
}

/* The index of options, trained where it needs to be, with the rows of base in it. */
static int build_index(const struct nki_rows *base, const struct nk_knn_options *options,
                       const struct nki_frame *frame, FaissIndex **index) {
  size_t dim = base->dim;
  FaissParameterSpace *space = NULL;
  if (faiss_index_factory(index, (int)dim, options->index, METRIC_L2) != 0)
    return nk_fail(NK_EUSAGE, "not a FAISS index for %zu values: '%s'", dim, options->index);
  float *rows = nk_alloc(base->n, dim * sizeof *rows);
  if (rows == NULL) return NK_EMEMORY;
  nki_prepare(frame, base, NULL, 0, base->n, rows, NULL);
  int code = NK_OK;
  if (!faiss_Index_is_trained(*index))
    code = from_faiss(faiss_Index_train(*index, (idx_t)base->n, rows), "training");
  if (code == NK_OK) code = add_rows(*index, options->index, base->n, rows);
  nk_free(rows);
  if (code != NK_OK || options->search == NULL) return code;
  code = from_faiss(faiss_ParameterSpace_new(&space), "parameters");
  if (code == NK_OK &&
      faiss_ParameterSpace_set_index_parameters(space, *index, options->search) != 0)
    code = nk_fail(NK_EUSAGE, "the index '%s' does not have the parameters '%s'", options->index,
                   options->search);
  faiss_ParameterSpace_free(space);
  return code;
}

/* A block of query rows. */
struct block {
  struct nki_frame frame;
  size_t n_found; /* proposals for each row */
  float *rows;    /* [QUERIES, dim] */
  float *scores;  /* [QUERIES, n_found] */
  idx_t *labels;  /* the same */
  struct nki_neighbour *found;
};

enum { QUERIES = 4096 };

/* What the index proposes, with its distances computed in double. */
static int search_block(const FaissIndex *index, const struct nki_search *s, struct block *block,
                        size_t first, size_t n) {
  size_t n_found = block->n_found;
  nki_prepare(&block->frame, &s->query, NULL, first, n, block->rows, NULL);
  int code = from_faiss(faiss_Index_search(index, (idx_t)n, block->rows, (idx_t)n_found,
                                           block->scores, block->labels),
                        "search");
  if (code != NK_OK) return code;
#pragma omp parallel for schedule(dynamic, 16)
  for (size_t i = 0; i < n; i++) {
    struct nki_neighbour *found = block->found + i * n_found;
    size_t count = 0;
    for (size_t c = 0; c < n_found; c++) {
      idx_t row = block->labels[i * n_found + c];
      if (row < 0 || nki_is_own(s, first + i, (size_t)row)) continue;
      found[count++] =
          (struct nki_neighbour){nki_distance(&s->query, first + i, &s->base, (size_t)row), row};
    }
    nki_keep(found, count, s->out, first + i);
  }
  return nk_progress("nearest neighbours", first + n, s->query.n);
}

/* The frame of the base's rows, whatever is searched for: some indexes round in it; centre [dim] is
 * its centre. Unit vectors are not centred, which an index of directions expects. */
static int open_frame(const struct nki_search *s, double *centre, struct nki_frame *frame) {
  double longest = 0;
  int code = s->base.scale == NULL ? nki_centroid(&s->base, centre) : NK_OK;
  for (size_t i = 0; i < s->base.n && code == NK_OK; i++)
    longest = fmax(longest, nki_length_from(&s->base, i, centre));
  *frame = nki_frame_about(centre, s->base.dim, longest);
  return code;
}

int nki_search_index(const struct nki_search *s, const struct nk_knn_options *options) {
  struct block block = {.n_found = s->k + (s->self ? 1 : 0)};
  double *centre = nk_calloc(s->base.dim, sizeof *centre);
  FaissIndex *index = NULL;
  block.rows = nk_alloc(QUERIES, s->base.dim * sizeof *block.rows);
  block.scores = nk_alloc(QUERIES, block.n_found * sizeof *block.scores);
  block.labels = nk_alloc(QUERIES, block.n_found * sizeof *block.labels);
  block.found = nk_alloc(QUERIES, block.n_found * sizeof *block.found);
  int code = centre != NULL && block.rows != NULL && block.scores != NULL && block.labels != NULL &&
                     block.found != NULL
                 ? NK_OK
                 : NK_EMEMORY;
  if (code == NK_OK) code = open_frame(s, centre, &block.frame);
  if (code == NK_OK) code = build_index(&s->base, options, &block.frame, &index);
  for (size_t first = 0; first < s->query.n && code == NK_OK; first += QUERIES)
    code = search_block(index, s, &block, first,
                        s->query.n - first < QUERIES ? s->query.n - first : QUERIES);
  faiss_Index_free(index);
  nk_free(centre);
  nk_free(block.rows);
  nk_free(block.scores);
  nk_free(block.labels);
  nk_free(block.found);
  return code;
}
