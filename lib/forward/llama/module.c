/* llama.cpp behind the forward pass: the module noken/llama.so (see ../llama.h). It is compiled
 * against the headers of the llama.cpp that it is linked to, whose binary interface changes.
 *
 * Everything between tokens and logits is read and changed in one way: llama.cpp calls back when a
 * tensor of its graph was computed, and the callback may overwrite the tensor before anything else
 * reads it. Layer 0 is the lookup of the ids in token_embd.weight, before positions are added and
 * before the model scales it; layer L is the tensor "l_out-(L - 1)", the output of block L - 1. So
 * vectors and tokens share one batch, and every architecture gets its vectors where its own tokens
 * come in. A vector's row has some id that is then overwritten.
 *
 * Keys and values are floats and flash attention is off: both would round to half floats. All
 * sequences share one cache, in which the rows of a batch keep their order.
 *
 * llama.cpp's state that belongs to the process (its backends, its log) is set up once. */
#include <dlfcn.h>
#include <noken/base.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llama.h>

#include "forward/llama/devices.h"

#ifndef NOKEN_GGML_BACKENDS
#define NOKEN_GGML_BACKENDS NULL
#endif

struct nki_llama {
  struct nki_llama_facts facts;
  int (*fail)(int code, const char *format, ...) NK_PRINTF(2, 3);
  struct llama_model *model;
  struct llama_context *context;
  const struct ggml_tensor *embedding; /* token_embd.weight */
  struct nki_llama_room room;          /* of the context */
  char *row;                           /* one row of the embedding, as it is stored */
  float *stream;                       /* [room.n_rows, dim] */
  /* While a batch runs: */
  const struct nki_llama_rows *rows; /* NULL: the graph is only looked at */
  size_t n_outputs;
  int code;
};

/* ---- The process ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local char first_error[256]; /* the first of llama.cpp's log since it was emptied */
static void (*warn)(const char *format, ...) NK_PRINTF(1, 2);

static void log_line(enum ggml_log_level level, const char *text, void *user) {
  (void)user;
  if (level != GGML_LOG_LEVEL_ERROR || first_error[0] != 0) return;
  snprintf(first_error, sizeof first_error, "%s", text);
  first_error[strcspn(first_error, "\n")] = 0;
}

/* ggml ends the process after this. */
static void before_abort(const char *message) {
  warn("llama.cpp failed and ends this process: %s", message);
}

static void load_folder(const char *folder) {
  if (folder != NULL && ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) == NULL)
    ggml_backend_load_all_from_path(folder);
}

/* Backends that are not linked in are beside ggml's library, or where the build was told. The
 * current folder, which ggml would search as well, is not trusted. */
static void start(void) {
  Dl_info info;
  char folder[4096] = ".";
  llama_log_set(log_line, NULL);
  ggml_set_abort_callback(before_abort);
  load_folder(NOKEN_GGML_BACKENDS);
  if (dladdr((void *)(uintptr_t)ggml_backend_load_all_from_path, &info) != 0 &&
      strrchr(info.dli_fname, '/') != NULL) {
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(info.dli_fname, '/') - info.dli_fname),
             info.dli_fname);
    load_folder(folder);
  }
  llama_backend_init();
}

/* ---- The callback ---- */

/* The layer whose stream the tensor is, or SIZE_MAX. */
static size_t layer_of(const struct nki_llama *l, const struct ggml_tensor *t) {
  static const char prefix[] = "l_out-";
  char *end;
  if (t->op == GGML_OP_GET_ROWS)
    return strstr(t->src[0]->name, "token_embd.weight") != NULL &&
                   strstr(t->src[0]->name, "per_layer") == NULL
               ? 0
               : SIZE_MAX;
  if (strncmp(t->name, prefix, sizeof prefix - 1) != 0) return SIZE_MAX;
  unsigned long block = strtoul(t->name + sizeof prefix - 1, &end, 10);
  return *end == 0 && end != t->name + sizeof prefix - 1 && block < l->facts.shape.n_layers
             ? block + 1
             : SIZE_MAX;
}

static bool is_stream(const struct nki_llama *l, const struct ggml_tensor *t) {
  return t->type == GGML_TYPE_F32 && ggml_is_contiguous(t) &&
         (size_t)t->ne[0] == l->facts.shape.dim && t->ne[2] == 1 && t->ne[3] == 1;
}

/* Learns from a graph which streams it has, and where ids are looked up. */
static void look_at(struct nki_llama *l, struct ggml_tensor *t) {
  size_t layer = layer_of(l, t);
  if (layer != SIZE_MAX && is_stream(l, t)) l->facts.layers[layer] = true;
  if (t->op != GGML_OP_GET_ROWS) return;
  if (layer == 0)
    l->embedding = t->src[0];
  else if (strstr(t->src[1]->name, "inp_tokens") != NULL)
    snprintf(l->facts.other_lookup, sizeof l->facts.other_lookup, "%s", t->src[0]->name);
}

static void visit(struct nki_llama *l, struct ggml_tensor *t, size_t layer) {
  size_t n = (size_t)t->ne[1];
  bool whole = n == l->rows->n || (layer == l->facts.shape.n_layers && n == l->n_outputs);
  if (!whole || !is_stream(l, t)) {
    l->code = l->fail(NK_EUNSUPPORTED, "llama.cpp's tensor '%s' has %zu rows for %zu positions",
                      t->name, n, l->rows->n);
    return;
  }
  if (n == 0) return;
  ggml_backend_tensor_get(t, l->stream, 0, ggml_nbytes(t));
  if (l->rows->visit(l->rows->user, layer, l->stream, n))
    ggml_backend_tensor_set(t, l->stream, 0, ggml_nbytes(t));
}

/* Whether the rows have the order in which they were given. */
static void check_order(struct nki_llama *l, const struct ggml_tensor *ids) {
  size_t n = l->rows->n;
  int32_t *found = malloc(n * sizeof *found);
  bool same = found != NULL && ids->type == GGML_TYPE_I32 && ggml_nelements(ids) == (int64_t)n;
  if (same) ggml_backend_tensor_get(ids, found, 0, n * sizeof *found);
  if (!same || memcmp(found, l->rows->ids, n * sizeof *found) != 0)
    l->code = l->fail(NK_EUNSUPPORTED, "llama.cpp changes the order of %zu rows", n);
  free(found);
}

static bool evaluated(struct ggml_tensor *t, bool ask, void *user) {
  struct nki_llama *l = user;
  if (ask && l->rows == NULL) look_at(l, t);
  if (l->rows == NULL) return !ask;
  size_t layer = layer_of(l, t);
  bool wanted = layer != SIZE_MAX && l->rows->layers[layer];
  if (ask) return wanted || layer == 0;
  if (layer == 0) check_order(l, t->src[1]);
  if (wanted && l->code == NK_OK) visit(l, t, layer);
  return true;
}

/* ---- Contexts ---- */

static int prepare(struct nki_llama *l, const struct nki_llama_room *room) {
  int32_t n_threads = (int32_t)room->n_threads;
  if (l->context != NULL && room->n_cells <= l->room.n_cells &&
      room->n_sequences <= l->room.n_sequences && room->n_rows <= l->room.n_rows) {
    llama_set_n_threads(l->context, n_threads, n_threads);
    llama_memory_clear(llama_get_memory(l->context), true);
    return NK_OK;
  }
  llama_free(l->context);
  free(l->stream);
  l->context = NULL;
  l->room = *room;
  l->stream = malloc(room->n_rows * l->facts.shape.dim * sizeof(float));
  if (l->stream == NULL) return l->fail(NK_EMEMORY, "llama.cpp: %zu rows", room->n_rows);
  struct llama_context_params how = llama_context_default_params();
  /* With fewer rows than sequences llama.cpp ends the process: it counts an output for each. */
  size_t least = room->n_sequences;
  how.n_ctx = (uint32_t)(room->n_cells > least ? room->n_cells : least);
  how.n_batch = how.n_ubatch = (uint32_t)(room->n_rows > least ? room->n_rows : least);
  how.n_seq_max = (uint32_t)room->n_sequences;
  how.n_threads = how.n_threads_batch = n_threads;
  how.pooling_type = LLAMA_POOLING_TYPE_NONE;
  how.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  how.type_k = how.type_v = GGML_TYPE_F32;
  how.cb_eval = evaluated;
  how.cb_eval_user_data = l;
  how.no_perf = true;
  how.swa_full = true;
  how.kv_unified = true;
  first_error[0] = 0;
  l->context = llama_init_from_model(l->model, how);
  if (l->context == NULL || llama_get_memory(l->context) == NULL)
    return l->fail(NK_EMEMORY, "llama.cpp makes no context for %zu positions: %s", room->n_cells,
                   first_error);
  return NK_OK;
}

static void forget(struct nki_llama *l, size_t first, size_t end) {
  for (size_t s = first; s < end && s < l->room.n_sequences; s++)
    llama_memory_seq_rm(llama_get_memory(l->context), (llama_seq_id)s, -1, -1);
}

static void share(struct nki_llama *l, size_t sequence) {
  llama_memory_seq_cp(llama_get_memory(l->context), 0, (llama_seq_id)sequence, -1, -1);
}

/* ---- Batches ---- */

static int run_batch(struct nki_llama *l, struct llama_batch *batch) {
  first_error[0] = 0;
  l->code = NK_OK;
  int status = llama_decode(l->context, *batch);
  if (l->code != NK_OK) return l->code;
  if (status == 0) return NK_OK;
  if (status == 1) return l->fail(NK_EMEMORY, "llama.cpp has no room for %d rows", batch->n_tokens);
  return l->fail(NK_EIO, "llama.cpp: status %d: %s", status, first_error);
}

static int decode(struct nki_llama *l, const struct nki_llama_rows *rows) {
  size_t vocabulary = l->facts.shape.n_vocabulary, n_outputs = 0;
  struct llama_batch batch = llama_batch_init((int32_t)rows->n, 0, 1);
  batch.n_tokens = (int32_t)rows->n;
  for (size_t i = 0; i < rows->n; i++) {
    batch.token[i] = rows->ids[i];
    batch.pos[i] = rows->positions[i];
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = rows->sequences[i];
    batch.logits[i] = rows->outputs[i];
    n_outputs += rows->outputs[i] != 0;
  }
  l->rows = rows;
  l->n_outputs = n_outputs;
  int code = run_batch(l, &batch);
  l->rows = NULL;
  for (size_t i = 0, o = 0; i < rows->n && code == NK_OK; i++)
    if (rows->outputs[i] != 0)
      memcpy(rows->logits + o++ * vocabulary, llama_get_logits_ith(l->context, (int32_t)i),
             vocabulary * sizeof(float));
  llama_batch_free(batch);
  return code;
}

static void embeddings(const struct nki_llama *l, size_t first, size_t n, float *out) {
  const struct ggml_tensor *t = l->embedding;
  const struct ggml_type_traits *traits = ggml_get_type_traits(t->type);
  size_t dim = l->facts.shape.dim, row = ggml_row_size(t->type, (int64_t)dim);
  if (t->type == GGML_TYPE_F32) {
    ggml_backend_tensor_get(t, out, first * row, n * row);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    ggml_backend_tensor_get(t, l->row, (first + i) * row, row);
    traits->to_float(l->row, out + i * dim, (int64_t)dim);
  }
}

/* ---- Opening ---- */

/* A whole number of the file's metadata under the architecture's name, or `usual`. */
static size_t read_size(const struct llama_model *model, const char *architecture, const char *key,
                        size_t usual) {
  char name[128], value[32];
  snprintf(name, sizeof name, "%s.%s", architecture, key);
  if (llama_model_meta_val_str(model, name, value, sizeof value) <= 0) return usual;
  unsigned long long number = strtoull(value, NULL, 10);
  return number == 0 || number > 1u << 24 ? usual : (size_t)number;
}

/* What the metadata say: the architecture, which predicts the next token. */
static int read_architecture(struct nki_llama *l) {
  const struct llama_model *m = l->model;
  char *architecture = l->facts.architecture;
  if (llama_model_meta_val_str(m, "general.architecture", architecture,
                               sizeof l->facts.architecture) <= 0)
    return l->fail(NK_EDATA, "no general.architecture");
  if (llama_model_has_encoder(m) || !llama_model_has_decoder(m) || llama_model_is_diffusion(m))
    return l->fail(NK_EUNSUPPORTED, "architecture '%s' does not predict the next token",
                   architecture);
  return NK_OK;
}

static int read_facts(struct nki_llama *l) {
  const struct llama_model *m = l->model;
  struct nki_llama_facts *facts = &l->facts;
  struct nk_forward_shape *shape = &facts->shape;
  shape->n_layers = (size_t)llama_model_n_layer(m);
  shape->dim = (size_t)llama_model_n_embd(m);
  shape->n_vocabulary = (size_t)llama_vocab_n_tokens(llama_model_get_vocab(m));
  shape->n_positions = (size_t)llama_model_n_ctx_train(m);
  shape->n_heads = (size_t)llama_model_n_head(m);
  shape->n_kv_heads = (size_t)llama_model_n_head_kv(m);
  shape->head_dim = read_size(m, facts->architecture, "attention.key_length",
                              shape->n_heads == 0 ? 0 : shape->dim / shape->n_heads);
  shape->mlp_dim = read_size(m, facts->architecture, "feed_forward_length", 0);
  facts->most_sequences = llama_max_parallel_sequences();
  facts->one_by_one = llama_model_is_recurrent(m) || llama_model_is_hybrid(m);
  facts->layers = calloc(shape->n_layers + 1, sizeof *facts->layers);
  return facts->layers == NULL ? l->fail(NK_EMEMORY, "out of memory") : NK_OK;
}

/* Runs one token, to see the graph. */
static int look_at_graph(struct nki_llama *l) {
  const struct nki_llama_room room = {.n_cells = 1, .n_sequences = 1, .n_rows = 1, .n_threads = 1};
  int code = prepare(l, &room);
  if (code != NK_OK) return code;
  struct llama_batch batch = llama_batch_init(1, 0, 1);
  batch.n_tokens = 1;
  batch.token[0] = 0;
  batch.pos[0] = 0;
  batch.n_seq_id[0] = 1;
  batch.seq_id[0][0] = 0;
  batch.logits[0] = 1;
  code = run_batch(l, &batch);
  llama_batch_free(batch);
  if (code != NK_OK) return code;
  if (l->embedding == NULL || !l->facts.layers[0])
    return l->fail(NK_EUNSUPPORTED, "llama.cpp's graph of architecture '%s' has no lookup of ids",
                   l->facts.architecture);
  l->row = malloc(ggml_row_size(l->embedding->type, l->embedding->ne[0]));
  if (l->row == NULL) return l->fail(NK_EMEMORY, "out of memory");
  l->facts.n_tokens = (size_t)l->embedding->ne[1];
  size_t all = (size_t)llama_model_n_params(l->model),
         some = l->facts.n_tokens * l->facts.shape.dim;
  l->facts.shape.n_parameters = all < some ? 0 : all - some;
  return NK_OK;
}

static int load(struct nki_llama *l, const struct nki_llama_open *how) {
  struct nki_llama_devices devices;
  int code = nki_llama_find_devices(how, &devices);
  if (code != NK_OK) return code;
  struct llama_model_params params = llama_model_default_params();
  params.devices = devices.item;
  params.n_gpu_layers = how->n_gpu_layers > 0 && how->n_gpu_layers < 1u << 20
                            ? (int32_t)how->n_gpu_layers
                            : 1 << 20; /* all; of no effect without devices */
  params.vocab_only = how->check;
  first_error[0] = 0;
  l->model = llama_model_load_from_file(how->path, params);
  if (l->model == NULL)
    return how->fail(NK_EDATA, "llama.cpp cannot load the file: %s", first_error);
  code = read_architecture(l);
  if (code != NK_OK || how->check) return code;
  code = read_facts(l);
  return code == NK_OK ? look_at_graph(l) : code;
}

static void free_llama(struct nki_llama *l) {
  if (l == NULL) return;
  llama_free(l->context);
  llama_model_free(l->model);
  free(l->facts.layers);
  free(l->stream);
  free(l->row);
  free(l);
}

static struct nki_llama *open_llama(const struct nki_llama_open *how) {
  if (warn == NULL) warn = how->warn;
  pthread_once(&once, start);
  if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) == NULL) {
    how->fail(NK_EUNSUPPORTED,
              "llama.cpp finds no backend for the processor: GGML_BACKEND_PATH "
              "names one");
    return NULL;
  }
  struct nki_llama *l = calloc(1, sizeof *l);
  if (l == NULL) {
    how->fail(NK_EMEMORY, "out of memory");
    return NULL;
  }
  l->fail = how->fail;
  if (load(l, how) == NK_OK) return l;
  free_llama(l);
  return NULL;
}

static const struct nki_llama_facts *get_facts(const struct nki_llama *l) {
  return &l->facts;
}

const struct nki_llama_module noken_llama_module;
NK_API const struct nki_llama_module noken_llama_module = {
    .version = NKI_LLAMA_VERSION,
    .open = open_llama,
    .free = free_llama,
    .facts = get_facts,
    .prepare = prepare,
    .forget = forget,
    .share = share,
    .decode = decode,
    .embeddings = embeddings,
};
