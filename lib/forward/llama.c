/* The engine that runs llama.cpp: it finds and loads the module (llama.h), and turns a pass of
 * batch.h into the module's rows. The sequences of a group have numbers from 1 on there; number 0
 * is the prefix, whose keys and values all share. */
#include "forward/llama.h"

#include <dlfcn.h>
#include <noken/base.h>

#include "forward/batch.h"
#include "forward/module.h"
#include "model/model.h"

/* Rows at once, and so sequences: each row attends to the cells of all sequences, whose scores are
 * then masked, so that more rows cost more the narrower the model is. Measured: llama-tiny
 * (dim 128) is fastest at 128 rows (2.3 times 512 rows). */
enum { LEAST_ROWS = 128, MOST_ROWS = 512 };

struct session {
  void *library;
  const struct nki_llama_module *module;
  struct nki_llama *llama;
  const struct nki_llama_facts *facts;
  size_t rows_at_once;
  size_t first_sequence; /* of the present group: number 1 */
  size_t n_numbers;      /* of the largest group, and the prefix */
};

/* ---- A pass ---- */

/* The rows of a pass as the module takes them. */
struct rows {
  struct session *session;
  const struct nk_forward *forward;
  const struct nk_batch *batch;
  struct nki_pass *pass;
  int32_t *ids, *sequences, *positions; /* [n_rows] */
  int8_t *outputs;                      /* [n_rows] */
  bool *layers;                         /* [n_layers + 1] */
  size_t first, n;                      /* the rows that are computed now */
  size_t final, n_final;                /* of pass->final_rows, those among them */
  int code;
};

static bool visit(void *user, size_t layer, float *x, size_t n_x) {
  struct rows *r = user;
  struct nki_stream stream = {.x = x, .first = r->first, .n = n_x};
  bool changed = false;
  if (n_x != r->n) /* at n_layers: the final rows alone */
    stream = (struct nki_stream){.x = x, .n = n_x, .rows = r->pass->final_rows + r->final};
  if (r->code == NK_OK)
    r->code = nki_touch(r->forward, r->batch, r->pass, layer, &stream, &changed);
  return changed;
}

/* Rows [first, end), in steps. */
static int run_rows(struct rows *r, size_t first, size_t end) {
  const struct session *s = r->session;
  const size_t *final_rows = r->pass->final_rows;
  size_t n_layers = r->forward->config.shape.n_layers;
  size_t width = r->forward->config.shape.n_vocabulary;
  bool reads = r->pass->depth == n_layers;
  for (r->first = first; r->first < end; r->first += r->n) {
    r->n = end - r->first < s->rows_at_once ? end - r->first : s->rows_at_once;
    for (size_t i = 1; s->facts->one_by_one && i < r->n; i++)
      if (r->sequences[r->first + i] != r->sequences[r->first]) r->n = i;
    r->n_final = 0;
    while (r->final < r->pass->n_final && final_rows[r->final] < r->first) r->final++;
    while (r->final + r->n_final < r->pass->n_final &&
           final_rows[r->final + r->n_final] < r->first + r->n)
      r->n_final++;
    const struct nki_llama_rows rows = {
        .n = r->n,
        .ids = r->ids + r->first,
        .positions = r->positions + r->first,
        .sequences = r->sequences + r->first,
        .outputs = r->outputs + r->first,
        .layers = r->layers,
        .visit = visit,
        .user = r,
        .logits = reads ? r->pass->final + r->final * width : NULL,
    };
    int code = s->module->decode(s->llama, &rows);
    if (code == NK_OK) code = r->code;
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

static void number_rows(struct rows *r) {
  struct session *s = r->session;
  const struct nki_pass *pass = r->pass;
  for (size_t k = 0; k < pass->n_spans; k++) {
    const struct nki_span *span = &pass->spans[k];
    for (size_t i = 0; i < span->n; i++) {
      size_t row = span->row + i;
      bool vector = span->ids[i] == NK_VECTOR; /* any id: its row is replaced */
      r->ids[row] = (int32_t)(vector ? (int64_t)(row % r->forward->n_tokens) : span->ids[i]);
      r->positions[row] = (int32_t)pass->positions[row];
      r->sequences[row] =
          span->sequence == NK_PREFIX ? 0 : (int32_t)(span->sequence - s->first_sequence + 1);
    }
  }
  for (size_t i = 0; i < pass->n_final && pass->depth == r->forward->config.shape.n_layers; i++)
    r->outputs[pass->final_rows[i]] = 1;
  for (size_t i = 0; i < pass->n_overrides; i++)
    r->layers[r->batch->overrides[pass->overrides[i].index].layer] = true;
  for (size_t i = 0; i < pass->n_asks; i++) {
    const struct nk_ask *ask = &r->batch->asks[pass->asks[i].index];
    for (size_t l = 0; l < ask->n_layers; l++) r->layers[ask->layers[l]] = true;
  }
}

/* The prefix, where this pass has it; then the sequences, which begin with it. */
static int run_spans(struct rows *r, size_t n_prefix) {
  const struct session *s = r->session;
  const struct nki_pass *pass = r->pass;
  size_t first = pass->spans[0].sequence == NK_PREFIX ? pass->spans[0].n : 0;
  int code = run_rows(r, 0, first);
  for (size_t k = 0; k < pass->n_spans && code == NK_OK && n_prefix > 0; k++)
    if (pass->spans[k].sequence != NK_PREFIX && pass->spans[k].past == 0)
      s->module->share(s->llama, pass->spans[k].sequence - s->first_sequence + 1);
  return code == NK_OK ? run_rows(r, first, pass->n_rows) : code;
}

static int run_pass(struct nki_work *work, const struct nk_batch *batch, struct nki_pass *pass) {
  struct session *s = work->forward->session;
  size_t n = pass->n_rows, n_layers = work->forward->config.shape.n_layers;
  struct rows r = {.session = s,
                   .forward = work->forward,
                   .batch = batch,
                   .pass = pass,
                   .ids = nk_alloc(n, sizeof(int32_t)),
                   .sequences = nk_alloc(n, sizeof(int32_t)),
                   .positions = nk_alloc(n, sizeof(int32_t)),
                   .outputs = nk_calloc(n, sizeof(int8_t)),
                   .layers = nk_calloc(n_layers + 1, sizeof(bool))};
  int code = NK_EMEMORY;
  if (r.ids == NULL || r.sequences == NULL || r.positions == NULL || r.outputs == NULL ||
      r.layers == NULL)
    goto done;
  if (pass->spans[0].past == 0) { /* a new group */
    const struct nki_span *span = &pass->spans[0];
    s->module->forget(s->llama, 1, s->n_numbers);
    if (span->sequence == NK_PREFIX && pass->n_spans > 1) span++;
    s->first_sequence = span->sequence;
  }
  number_rows(&r);
  code = run_spans(&r, work->n_prefix);
done:
  nk_free(r.ids);
  nk_free(r.sequences);
  nk_free(r.positions);
  nk_free(r.outputs);
  nk_free(r.layers);
  return code;
}

/* ---- A batch ---- */

static int check_layer(const struct session *s, const char *what, size_t index, size_t layer) {
  if (!s->facts->layers[layer])
    return nk_fail(NK_EUNSUPPORTED,
                   "%s %zu: layer %zu: llama.cpp's graph of architecture '%s' does not have this "
                   "stream",
                   what, index, layer, s->facts->architecture);
  return NK_OK;
}

/* What this engine cannot do for this model is refused before anything runs. */
static int check_batch(const struct session *s, const struct nk_batch *batch) {
  int code = NK_OK;
  for (size_t i = 0; i < batch->n_overrides && code == NK_OK; i++) {
    code = check_layer(s, "override", i, batch->overrides[i].layer);
    if (code == NK_OK && batch->overrides[i].layer == 0 && s->facts->other_lookup[0] != 0)
      code = nk_fail(NK_EUNSUPPORTED,
                     "override %zu: layer 0: architecture '%s' looks ids up in tensor '%s' as well",
                     i, s->facts->architecture, s->facts->other_lookup);
  }
  for (size_t i = 0; i < batch->n_asks && code == NK_OK; i++)
    for (size_t l = 0; l < batch->asks[i].n_layers && code == NK_OK; l++)
      code = check_layer(s, "ask", i, batch->asks[i].layers[l]);
  return code;
}

static int begin(const struct nki_plan *plan, size_t longest_span, size_t max_spans,
                 struct nki_work *work) {
  const struct nk_batch *batch = plan->batch;
  struct session *s = plan->forward->session;
  size_t more = batch->generation == NULL ? 0 : batch->generation->n_tokens, most = 0;
  (void)longest_span;
  *work = (struct nki_work){.forward = plan->forward, .n_prefix = batch->prefix.n};
  int code = check_batch(s, batch);
  if (code != NK_OK) return code;
  for (size_t g = 0; g < plan->n_groups; g++) {
    size_t cells = 0;
    for (size_t i = plan->group_start[g]; i < plan->group_start[g + 1]; i++)
      if (plan->lengths[i] > 0) cells += plan->lengths[i] + more;
    if (cells > most) most = cells;
  }
  s->n_numbers = max_spans;
  const struct nki_llama_room room = {.n_cells = batch->prefix.n + most,
                                      .n_sequences = max_spans,
                                      .n_rows = s->rows_at_once,
                                      .n_threads = nk_threads()};
  return s->module->prepare(s->llama, &room);
}

static void end(struct nki_work *work) {
  (void)work;
}

/* ---- Opening ---- */

static const float *embeddings(const struct nk_forward *forward, size_t first, size_t n,
                               float *scratch) {
  const struct session *s = forward->session;
  s->module->embeddings(s->llama, first, n, scratch);
  return scratch;
}

static void free_session(struct nk_forward *forward) {
  struct session *s = forward->session;
  if (s == NULL) return;
  if (s->llama != NULL) s->module->free(s->llama);
  if (s->library != NULL) dlclose(s->library);
  nk_free(s);
}

const struct nki_engine nki_llama_engine = {.name = "llama",
                                            .gives_logits = true,
                                            .keeps_keys = true,
                                            .begin = begin,
                                            .end = end,
                                            .pass = run_pass,
                                            .embeddings = embeddings,
                                            .free = free_session};

static int load_module(struct session *s) {
  static const struct nki_module_name name = {.what = "the llama engine is",
                                              .name = "llama",
                                              .needs = "",
                                              .symbol = NKI_LLAMA_SYMBOL,
                                              .version = NKI_LLAMA_VERSION};
  const void *module = NULL;
  int code = nki_module_load(&name, &s->library, &module);
  s->module = module;
  return code;
}

int nki_llama_open(struct nk_forward *forward, const char *path,
                   const struct nk_engine_options *options, bool check) {
  struct session *s = forward->session = nk_calloc(1, sizeof *s);
  if (s == NULL) return NK_EMEMORY;
  forward->engine = &nki_llama_engine;
  int code = load_module(s);
  if (code != NK_OK) return code;
  const struct nki_llama_open how = {.path = path,
                                     .n_gpu_layers = options->n_gpu_layers,
                                     .rpc = options->rpc,
                                     .check = check,
                                     .fail = nk_fail,
                                     .warn = nk_warn};
  s->llama = s->module->open(&how);
  if (s->llama == NULL) return nk_fail_in(nk_error_code(), "%s", nk_model_name(forward->model));
  if (check) return NK_OK;
  s->facts = s->module->facts(s->llama);
  forward->config.shape = s->facts->shape;
  forward->config.shape.architecture = s->facts->architecture;
  forward->n_tokens = s->facts->n_tokens;
  size_t rows = forward->config.shape.dim / 2;
  s->rows_at_once = rows < LEAST_ROWS ? LEAST_ROWS : rows > MOST_ROWS ? MOST_ROWS : rows;
  forward->most_rows = s->rows_at_once;
  forward->most_sequences = s->facts->most_sequences - 1;
  return NK_OK;
}
