/* Checkpoints of tuning: a safetensors file of values, moments, best values, rows and numbers, with
 * what the run was asked in its metadata. */
#include <inttypes.h>
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "forward/tune.h"
#include "model/dtype.h"
#include "model/safetensors.h"

/* Numbers of the tensor `state`, in this order; the sums follow. */
enum { STEP, STALE, BEST_LOSS, N_SUMS, DONE, SUMS, N_STATE = SUMS + NKI_N_EXAMPLES };

static const char *const kinds[] = {"values", "mean", "square", "best"};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static float *array_of(const struct nki_tune_tensor *t, size_t kind) {
  if (kind == 0) return t->values;
  if (kind == 1) return t->mean;
  return kind == 2 ? t->square : t->best;
}

/* ---- What the run was asked ---- */

enum { MAX_SETTING = 64, N_SETTINGS = 17 };

struct setting {
  const char *name;
  char value[MAX_SETTING];
};

static void describe(const struct nk_tune *tune, struct setting settings[N_SETTINGS]) {
  const struct nk_tune_options *o = &tune->options;
  const struct {
    const char *name;
    double value;
  } numbers[] = {{"layer", (double)o->layer},
                 {"mode", (double)o->mode},
                 {"train", (double)o->train},
                 {"first_layer", (double)o->first_layer},
                 {"last_layer", (double)o->last_layer},
                 {"n_steps", (double)o->n_steps},
                 {"rate", o->rate},
                 {"decay", o->decay},
                 {"weight", o->weight},
                 {"n_batch", (double)o->n_batch},
                 {"hold_out", o->hold_out},
                 {"n_evaluate", (double)o->n_evaluate},
                 {"n_search", (double)o->n_search},
                 {"metric", (double)o->metric}};
  size_t n = sizeof numbers / sizeof *numbers;
  for (size_t i = 0; i < n; i++) {
    settings[i].name = numbers[i].name;
    snprintf(settings[i].value, MAX_SETTING, "%.17g", numbers[i].value);
  }
  settings[n].name = "seed";
  snprintf(settings[n].value, MAX_SETTING, "%" PRIu64, o->seed);
  settings[n + 1].name = "input"; /* nokens, prompts, texts, target and model */
  snprintf(settings[n + 1].value, MAX_SETTING, "%016" PRIx64, tune->input);
  settings[n + 2].name = "version";
  snprintf(settings[n + 2].value, MAX_SETTING, "%s", nk_version());
}

/* ---- Writing ---- */

static int add(struct nki_safetensors_writer *writer, const char *name, enum nk_dtype dtype,
               const void *data, size_t n) {
  const struct nk_tensor tensor = {
      .name = name, .dtype = dtype, .n_dims = 1, .shape = {n}, .data = data};
  return nki_safetensors_writer_add(writer, &tensor);
}

static int add_arrays(struct nki_safetensors_writer *writer, const struct nki_tune_tensor *t) {
  struct nk_buffer name = {0};
  int code = NK_OK;
  for (size_t k = 0; k < N_KINDS && code == NK_OK; k++) {
    nk_buffer_clear(&name);
    nk_buffer_printf(&name, "%s:%s", kinds[k], t->name);
    code = name.failed ? NK_EMEMORY : add(writer, name.data, NK_F32, array_of(t, k), t->n);
  }
  nk_buffer_free(&name);
  return code;
}

int nk_tune_save(const struct nk_tune *tune, struct nk_output *output) {
  if (tune == NULL || output == NULL) return nki_fail_null();
  struct setting settings[N_SETTINGS];
  double state[N_STATE] = {[STEP] = (double)tune->step,
                           [STALE] = (double)tune->n_stale,
                           [BEST_LOSS] = tune->best_loss,
                           [N_SUMS] = (double)tune->n_sums,
                           [DONE] = tune->done ? 1 : 0};
  memcpy(state + SUMS, tune->sums, sizeof tune->sums);
  struct nki_safetensors_writer *writer = nki_safetensors_writer_new(output);
  int code = writer == NULL ? nk_error_code() : NK_OK;
  if (code == NK_OK) code = nki_safetensors_writer_metadata(writer, "noken.kind", "tuning");
  describe(tune, settings);
  for (size_t i = 0; i < N_SETTINGS && code == NK_OK; i++)
    code = nki_safetensors_writer_metadata(writer, settings[i].name, settings[i].value);
  if (code == NK_OK) code = add(writer, "state", NK_F64, state, N_STATE);
  if (code == NK_OK) code = add(writer, "rows", NK_F64, tune->rows, tune->n_rows * NK_TUNE_COLUMNS);
  if (code == NK_OK && tune->distances != NULL)
    code = add(writer, "nokens", NK_F32, tune->nokens, tune->of_nokens.n * tune->dim);
  for (size_t i = 0; i < tune->n_tensors && code == NK_OK; i++)
    code = add_arrays(writer, &tune->tensors[i]);
  if (code == NK_OK) code = nki_safetensors_writer_begin(writer);
  if (code != NK_OK) {
    nki_safetensors_writer_free(writer);
    return code;
  }
  return nki_safetensors_writer_finish(writer);
}

/* ---- Reading ---- */

static int check_settings(const struct nk_tune *tune, const struct nki_safetensors *file) {
  struct setting settings[N_SETTINGS];
  const char *kind = nki_safetensors_metadata_find(file, "noken.kind");
  if (kind == NULL || strcmp(kind, "tuning") != 0)
    return nk_fail(NK_EDATA, "no checkpoint of tuning");
  describe(tune, settings);
  for (size_t i = 0; i < N_SETTINGS; i++) {
    const char *value = nki_safetensors_metadata_find(file, settings[i].name);
    if (value != NULL && strcmp(value, settings[i].value) == 0) continue;
    if (strcmp(settings[i].name, "input") == 0)
      return nk_fail(NK_EUSAGE,
                     "a checkpoint of other nokens, prompts, texts or of another model: remove it "
                     "to begin anew");
    return nk_fail(NK_EUSAGE,
                   "a checkpoint of another run: %s is %.60s there, here %s; remove it to begin "
                   "anew",
                   settings[i].name, value != NULL ? value : "missing", settings[i].value);
  }
  return NK_OK;
}

/* The tensor, of 0 or more rows of `row` numbers; NULL on failure. */
static const struct nk_tensor *find(const struct nki_safetensors *file, const char *name,
                                    enum nk_dtype dtype, size_t row) {
  const struct nk_tensor *tensor = nki_safetensors_find(file, name);
  if (tensor == NULL) return NULL;
  if (tensor->dtype == dtype && tensor->n_dims == 1 && tensor->n_elements % row == 0) return tensor;
  nk_fail(NK_EDATA, "tensor '%.200s' has another type or shape", tensor->name);
  return NULL;
}

/* out [n] = the tensor's elements. */
static int read_floats(const struct nki_safetensors *file, const char *name, size_t n, float *out) {
  const struct nk_tensor *tensor = find(file, name, NK_F32, 1);
  if (tensor == NULL) return nk_error_code();
  if (tensor->n_elements != n)
    return nk_fail(NK_EDATA, "tensor '%.200s' has %zu elements, expected %zu", tensor->name,
                   tensor->n_elements, n);
  memcpy(out, tensor->data, n * sizeof *out);
  if (nki_first_not_finite(out, n) < n)
    return nk_fail(NK_EDATA, "tensor '%.200s' is not finite", tensor->name);
  return NK_OK;
}

static int read_arrays(const struct nki_safetensors *file, const struct nki_tune_tensor *t) {
  struct nk_buffer name = {0};
  int code = NK_OK;
  for (size_t k = 0; k < N_KINDS && code == NK_OK; k++) {
    nk_buffer_clear(&name);
    nk_buffer_printf(&name, "%s:%s", kinds[k], t->name);
    code = name.failed ? NK_EMEMORY : read_floats(file, name.data, t->n, array_of(t, k));
  }
  nk_buffer_free(&name);
  for (size_t i = 0; i < t->n && code == NK_OK; i++)
    if (t->square[i] < 0)
      code = nk_fail(NK_EDATA, "tensor 'square:%.200s': element %zu is %g, below 0", t->name, i,
                     (double)t->square[i]);
  return code;
}

static bool is_count(double x, double most) {
  return x >= 0 && x <= most && x == floor(x);
}

/* Whether a run of these options can have been in this state. */
static int check_state(const struct nk_tune_options *o, const double *state) {
  double n = (double)o->n_steps, sums = fmod(state[STEP], (double)o->n_evaluate);
  if (!is_count(state[STEP], n) || !is_count(state[STALE], state[STEP]))
    return nk_fail(NK_EDATA, "tensor 'state': step %g of %g, %g evaluations without a lower loss",
                   state[STEP], n, state[STALE]);
  bool ends = state[STEP] == n || state[STALE] >= NKI_TUNE_STALE;
  if (state[DONE] != (ends ? 1 : 0))
    return nk_fail(NK_EDATA, "tensor 'state': done is %g at step %g of %g", state[DONE],
                   state[STEP], n);
  if (state[N_SUMS] != (ends ? 0 : sums))
    return nk_fail(NK_EDATA, "tensor 'state': sums of %g steps at step %g", state[N_SUMS],
                   state[STEP]);
  for (size_t i = 0; i < N_STATE; i++)
    if (!isfinite(state[i]))
      return nk_fail(NK_EDATA, "tensor 'state': number %zu is %g", i, state[i]);
  return NK_OK;
}

/* An evaluation before the first step, each n_evaluate steps and after the last one. */
static int check_rows(const struct nk_tune *tune) {
  size_t every = tune->options.n_evaluate, step = tune->step;
  size_t n = step == 0 ? 0 : 1 + step / every + (tune->done && step % every != 0);
  if (tune->n_rows != n && !(step == 0 && tune->n_rows == 1))
    return nk_fail(NK_EDATA, "%zu rows at step %zu, expected %zu", tune->n_rows, step, n);
  for (size_t i = 0; i < tune->n_rows; i++) {
    size_t at = i * every < step ? i * every : step;
    if (tune->rows[i].step != (double)at)
      return nk_fail(NK_EDATA, "row %zu is of step %g, expected %zu", i, tune->rows[i].step, at);
  }
  return NK_OK;
}

static int read_state(struct nk_tune *tune, const struct nki_safetensors *file) {
  double state[N_STATE];
  const struct nk_tensor *tensor = find(file, "state", NK_F64, N_STATE);
  if (tensor == NULL) return nk_error_code();
  if (tensor->n_elements != N_STATE)
    return nk_fail(NK_EDATA, "tensor 'state' has %zu numbers, expected %d", tensor->n_elements,
                   N_STATE);
  memcpy(state, tensor->data, sizeof state);
  int code = check_state(&tune->options, state);
  if (code != NK_OK) return code;
  tune->step = (size_t)state[STEP];
  tune->n_stale = (size_t)state[STALE];
  tune->best_loss = state[BEST_LOSS];
  tune->n_sums = (size_t)state[N_SUMS];
  tune->done = state[DONE] != 0;
  memcpy(tune->sums, state + SUMS, sizeof tune->sums);
  tensor = find(file, "rows", NK_F64, NK_TUNE_COLUMNS);
  if (tensor == NULL) return nk_error_code();
  tune->rows = nk_alloc(tensor->n_elements, sizeof(double));
  if (tune->rows == NULL) return NK_EMEMORY;
  memcpy(tune->rows, tensor->data, tensor->n_bytes);
  tune->n_rows = tensor->n_elements / NK_TUNE_COLUMNS;
  return check_rows(tune);
}

int nki_tune_load(struct nk_tune *tune, const char *path) {
  struct nki_safetensors *file = nki_safetensors_open(path);
  if (file == NULL) return nk_error_code();
  int code = check_settings(tune, file);
  if (code == NK_OK) code = read_state(tune, file);
  if (code == NK_OK && tune->distances != NULL)
    code = read_floats(file, "nokens", tune->of_nokens.n * tune->dim, tune->nokens);
  for (size_t i = 0; i < tune->n_tensors && code == NK_OK; i++)
    code = read_arrays(file, &tune->tensors[i]);
  nki_safetensors_free(file);
  return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", path);
}
