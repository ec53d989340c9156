/* Which of a model's tensors are its embedding, unembedding and position matrices. */
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/names.h"
#include "model/architecture.h"
#include "model/model.h"
#include "model/model_config.h"

static const char *const matrix_names[3] = {"input", "output", "position"};

/* ---- Finding ---- */

/* Whether name is `end`, or ends with it after a dot. */
static bool ends_with_part(const char *name, const char *end) {
  size_t n = strlen(name), n_end = strlen(end);
  if (n < n_end || strcmp(name + n - n_end, end) != 0) return false;
  return n == n_end || name[n - n_end - 1] == '.';
}

static const char *name_of(const struct nki_architecture *architecture, enum nk_matrix which) {
  return which == NK_MATRIX_INPUT    ? architecture->embedding
         : which == NK_MATRIX_OUTPUT ? architecture->head
                                     : architecture->positions;
}

/* Whether one of the name's parts between dots is a number: a tensor of a block. */
static bool is_numbered(const char *name) {
  for (const char *part = name; part != NULL; part = strchr(part, '.')) {
    if (*part == '.') part++;
    size_t digits = strspn(part, "0123456789");
    if (digits > 0 && (part[digits] == '.' || part[digits] == 0)) return true;
  }
  return false;
}

/* Whether a tensor with a usual name of the output matrix can be it: the only tensor whose name
 * ends so may be a block's ("blocks.0.output.weight"), and it is as wide as the input matrix. */
static bool is_plausible(const struct nk_tensor *output, const struct nk_tensor *input) {
  if (input == NULL) return true;
  return output->shape[1] == input->shape[1] &&
         (!is_numbered(output->name) || is_numbered(input->name));
}

/* architecture NULL: unknown. */
static const struct nk_tensor *find_matrix(const struct nk_model *model,
                                           const struct nki_architecture *architecture,
                                           enum nk_matrix which) {
  if (architecture != NULL) {
    char name[NKI_MAX_NAME];
    if (name_of(architecture, which) == NULL) return NULL;
    snprintf(name, sizeof name, "%s.weight", name_of(architecture, which));
    return nki_model_named(model, name, 2);
  }
  const struct nk_tensor *input =
      which == NK_MATRIX_OUTPUT ? find_matrix(model, NULL, NK_MATRIX_INPUT) : NULL;
  for (size_t i = 0; nki_usual_names[which][i] != NULL; i++) {
    const struct nk_tensor *tensor = nki_model_named(model, nki_usual_names[which][i], 2);
    if (tensor != NULL && is_plausible(tensor, input)) return tensor;
  }
  return NULL;
}

/* The tensor that the index names for the matrix and no shard holds, or NULL. */
static const char *find_absent(const struct nk_model *model,
                               const struct nki_architecture *architecture, enum nk_matrix which) {
  const struct nki_shard_index *index = &model->files.index;
  for (size_t i = 0; i < index->n_entries; i++) {
    const char *name = nki_shard_index_name(index, i);
    bool is_matrix = false;
    if (architecture != NULL) {
      char wanted[NKI_MAX_NAME];
      if (name_of(architecture, which) == NULL) return NULL;
      snprintf(wanted, sizeof wanted, "%s.weight", name_of(architecture, which));
      is_matrix = ends_with_part(name, wanted);
    }
    for (size_t u = 0; architecture == NULL && nki_usual_names[which][u] != NULL; u++)
      is_matrix = is_matrix || ends_with_part(name, nki_usual_names[which][u]);
    if (is_matrix && nki_model_look_up(model, name) == NULL) return name;
  }
  return NULL;
}

/* *tied as the configuration says: Hugging Face's key, or one of other projects. NK_ENOTFOUND when
 * it does not say; NK_EDATA when the value is neither true nor false. Where a multimodal model and
 * its language model contradict each other, classes follow the one or the other by their version:
 * the file decides, as for a family that is tied by default. */
static int read_tied(const struct nk_model *model, bool *tied) {
  static const char *const keys[] = {"tie_word_embeddings", "weight_tying", "tie_embeddings",
                                     "tie_weights", "share_embeddings"};
  int code = NK_ENOTFOUND;
  for (size_t i = 0; i < sizeof keys / sizeof *keys && code == NK_ENOTFOUND; i++)
    code = nki_model_config_bool(model, keys[i], tied);
  const json_t *outer = json_object_get(model->config, keys[0]);
  if (code != NK_OK || !json_is_boolean(outer) || json_is_true(outer) == *tied) return code;
  *tied = true;
  return NK_ENOTFOUND;
}

/* ---- A matrix that is missing ---- */

/* Whether a tensor could be such a matrix: 2-D, and as wide as the model where that is known. */
static bool is_candidate(const struct nk_model *model, const struct nk_tensor *tensor) {
  int64_t width;
  if (tensor->n_dims != 2 || tensor->shape[0] < 2) return false;
  if (nki_model_config_integer(model, nki_setting_key(model, NKI_SETTING_DIM), &width) != NK_OK)
    return true;
  return width >= 0 && tensor->shape[1] == (size_t)width;
}

/* The candidates with the most rows are first: few dimensions are as large as a vocabulary. */
static void list_candidates(const struct nk_model *model, struct nk_buffer *out) {
  enum { MOST = 8 };
  const struct nk_tensor *best[MOST];
  size_t n = 0, n_all = 0;
  for (size_t i = 0; i < model->n_tensors; i++) {
    const struct nk_tensor *tensor = model->tensors[i];
    if (!is_candidate(model, tensor)) continue;
    n_all++;
    size_t at = n < MOST ? n++ : MOST;
    while (at > 0 && best[at - 1]->shape[0] < tensor->shape[0]) {
      if (at < MOST) best[at] = best[at - 1];
      at--;
    }
    if (at < MOST) best[at] = tensor;
  }
  for (size_t i = 0; i < n; i++) {
    nk_buffer_printf(out, "%s%.80s [%zu, %zu]", i == 0 ? "" : ", ", best[i]->name,
                     best[i]->shape[0], best[i]->shape[1]);
  }
  if (n_all > n) nk_buffer_printf(out, " and %zu more", n_all - n);
  if (n_all == 0) nk_buffer_text(out, "none");
}

static const struct nk_tensor *not_found(const struct nk_model *model,
                                         const struct nki_architecture *architecture,
                                         enum nk_matrix which) {
  const char *type = nki_model_type(model);
  struct nk_buffer candidates = {0};
  list_candidates(model, &candidates);
  nk_fail(NK_ENOTFOUND, "%s: no %s matrix%s%s%s; tensors that could be meant: %s",
          model->files.name, matrix_names[which],
          architecture != NULL ? " in this "
          : type != NULL       ? " known for model type "
                               : " by the usual names",
          type != NULL ? type : "", architecture != NULL ? " model" : "",
          candidates.data != NULL ? candidates.data : "");
  nk_buffer_free(&candidates);
  return NULL;
}

/* The error of a matrix that no tensor is, or that a missing shard has. */
static const struct nk_tensor *fail_missing(const struct nk_model *model,
                                            const struct nki_architecture *architecture,
                                            enum nk_matrix which) {
  const char *absent = find_absent(model, architecture, which);
  if (absent == NULL) return not_found(model, architecture, which);
  nki_model_fail_absent(model, absent);
  return NULL;
}

/* ---- The output matrix ---- */

static bool have_same_bytes(const struct nk_tensor *a, const struct nk_tensor *b) {
  return a->shape[0] == b->shape[0] && a->dtype == b->dtype && a->n_bytes == b->n_bytes &&
         (a->data == b->data || memcmp(a->data, b->data, a->n_bytes) == 0);
}

/* Whether a tensor outside the blocks, of other values than the input matrix, has its shape: the
 * same width, or height where it is transposed, and as many rows but for padding. */
static bool may_be_output(const struct nk_tensor *tensor, const struct nk_tensor *input) {
  if (tensor == input || tensor->n_dims != 2 || is_numbered(tensor->name)) return false;
  bool turned = tensor->shape[1] != input->shape[1];
  size_t rows = tensor->shape[turned], width = tensor->shape[!turned], wanted = input->shape[0];
  if (width != input->shape[1] || rows < wanted - wanted / 16 || rows > wanted + wanted / 16)
    return false;
  return !have_same_bytes(tensor, input);
}

/* The only tensor that may be the output matrix under a name that is not known; *n is how many may
 * be. */
static const struct nk_tensor *second_matrix(const struct nk_model *model,
                                             const struct nki_architecture *architecture,
                                             const struct nk_tensor *input, size_t *n) {
  const struct nk_tensor *found = NULL;
  const struct nk_tensor *positions = find_matrix(model, architecture, NK_MATRIX_POSITION);
  *n = 0;
  for (size_t i = 0; i < model->n_tensors; i++) {
    if (model->tensors[i] == positions || !may_be_output(model->tensors[i], input)) continue;
    found = model->tensors[i];
    ++*n;
  }
  return *n == 1 ? found : NULL;
}

/* Whether a tensor can be taken for the output matrix: of the input's very shape, and without a
 * name of another embedding. */
static bool is_output(const struct nk_tensor *tensor, const struct nk_tensor *input) {
  static const char *const others[] = {"emb", "pos", "wte", "wpe"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (strstr(tensor->name, others[i]) != NULL) return false;
  return tensor->shape[0] == input->shape[0] && tensor->shape[1] == input->shape[1];
}

/* Where the output matrix is. */
enum output_choice {
  OUTPUT_IS_INPUT,
  OUTPUT_NAMED,     /* under a known name */
  OUTPUT_DIFFERS,   /* the same, although it is the input matrix by the family's default */
  OUTPUT_UNUSED,    /* the input matrix by the configuration, and the file holds another one */
  OUTPUT_SECOND,    /* under an unknown name */
  OUTPUT_ABSENT,    /* in no shard */
  OUTPUT_AMBIGUOUS, /* the input matrix or another */
  OUTPUT_UNKNOWN,
};

struct output {
  enum output_choice choice;
  const struct nk_tensor *tensor; /* NULL where there is none */
  const char *absent;             /* the name of the one that is not there, or not used */
};

/* For a model without an output matrix under a known name. */
static struct output choose_unnamed(const struct nk_model *model,
                                    const struct nki_architecture *architecture,
                                    const struct nk_tensor *input, bool is_said, bool is_tied) {
  bool may_be_tied = is_tied || (!is_said && architecture == NULL);
  size_t n = 0;
  if (is_said && is_tied) return (struct output){.choice = OUTPUT_IS_INPUT, .tensor = input};
  const struct nk_tensor *second =
      input != NULL ? second_matrix(model, architecture, input, &n) : NULL;
  if (architecture == NULL && second != NULL && is_output(second, input))
    return (struct output){.choice = OUTPUT_SECOND, .tensor = second};
  if (!may_be_tied) return (struct output){.choice = OUTPUT_UNKNOWN};
  if (n > 0) return (struct output){.choice = OUTPUT_AMBIGUOUS};
  return (struct output){.choice = OUTPUT_IS_INPUT, .tensor = input};
}

/* is_tied: as the configuration says (is_said), or the architecture's default, false where that is
 * unknown. */
static struct output choose_output(const struct nk_model *model,
                                   const struct nki_architecture *architecture, bool is_said,
                                   bool is_tied) {
  const struct nk_tensor *input = find_matrix(model, architecture, NK_MATRIX_INPUT);
  const struct nk_tensor *output = find_matrix(model, architecture, NK_MATRIX_OUTPUT);
  const char *absent = find_absent(model, architecture, NK_MATRIX_OUTPUT);
  if (output == NULL && absent != NULL && !(is_said && is_tied))
    return (struct output){.choice = OUTPUT_ABSENT, .absent = absent};
  if (output == NULL) return choose_unnamed(model, architecture, input, is_said, is_tied);
  if (!is_tied) return (struct output){.choice = OUTPUT_NAMED, .tensor = output};
  /* Of two tied tensors a file may hold either. Where it holds both and the configuration does not
   * say, they are tied only when they are equal, as in Transformers 5. */
  if (input == NULL) return (struct output){.choice = OUTPUT_IS_INPUT, .tensor = output};
  if (input == output || have_same_bytes(input, output))
    return (struct output){.choice = OUTPUT_IS_INPUT, .tensor = input};
  if (is_said)
    return (struct output){.choice = OUTPUT_UNUSED, .tensor = input, .absent = output->name};
  return (struct output){.choice = OUTPUT_DIFFERS, .tensor = output};
}

static void warn_once(const struct nk_model *model, const struct output *output) {
  if (*model->warned) return;
  *model->warned = true;
  if (output->choice == OUTPUT_UNUSED) {
    nk_warn(
        "%s: '%.200s' is not used, although it differs from the input matrix: "
        "tie_word_embeddings is true",
        model->files.name, output->absent);
    return;
  }
  nk_warn("%s: '%.200s' is taken as the output matrix: %s", model->files.name, output->tensor->name,
          output->choice == OUTPUT_SECOND
              ? "its name is unknown, but no other tensor outside the blocks has the input's shape"
              : "it differs from the input matrix, which it is by the family's default");
}

static const struct nk_tensor *fail_ambiguous(const struct nk_model *model) {
  struct nk_buffer candidates = {0};
  list_candidates(model, &candidates);
  nk_fail(NK_EDATA,
          "%s: the output matrix may be the input matrix or another: the configuration has no "
          "tie_word_embeddings; tensors that could be meant: %s",
          model->files.name, candidates.data != NULL ? candidates.data : "");
  nk_buffer_free(&candidates);
  return NULL;
}

/* The chosen tensor, or NULL with an error. */
static const struct nk_tensor *report_output(const struct nk_model *model,
                                             const struct nki_architecture *architecture,
                                             const struct output *output) {
  if (output->choice == OUTPUT_ABSENT) {
    nki_model_fail_absent(model, output->absent);
    return NULL;
  }
  if (output->choice == OUTPUT_AMBIGUOUS) return fail_ambiguous(model);
  if (output->tensor == NULL) return fail_missing(model, architecture, NK_MATRIX_OUTPUT);
  if (output->choice == OUTPUT_SECOND || output->choice == OUTPUT_DIFFERS ||
      output->choice == OUTPUT_UNUSED)
    warn_once(model, output);
  return output->tensor;
}

const struct nk_tensor *nk_model_matrix(const struct nk_model *model, enum nk_matrix which,
                                        bool *tied) {
  if (model == NULL) return NULL;
  const struct nki_architecture *architecture = nki_model_architecture(model);
  bool is_tied = architecture != NULL && (architecture->tied || nki_model_wrapper_ties(model));
  int code = which != NK_MATRIX_POSITION ? read_tied(model, &is_tied) : NK_OK;
  if (code != NK_OK && code != NK_ENOTFOUND) return NULL;
  const struct nk_tensor *tensor =
      which != NK_MATRIX_OUTPUT ? find_matrix(model, architecture, which) : NULL;
  if (which == NK_MATRIX_POSITION || (tensor != NULL && tied == NULL))
    return tensor != NULL ? tensor : fail_missing(model, architecture, which);
  struct output output = choose_output(model, architecture, code == NK_OK, is_tied);
  if (tied != NULL) *tied = output.choice == OUTPUT_IS_INPUT || output.choice == OUTPUT_UNUSED;
  if (which == NK_MATRIX_OUTPUT) return report_output(model, architecture, &output);
  if (tensor == NULL && output.choice == OUTPUT_IS_INPUT) tensor = output.tensor;
  return tensor != NULL ? tensor : fail_missing(model, architecture, which);
}

const struct nk_tensor *nki_model_copy(const struct nk_model *model,
                                       const struct nk_tensor *tensor) {
  const struct nki_architecture *architecture = nki_model_architecture(model);
  const struct nk_tensor *input = find_matrix(model, architecture, NK_MATRIX_INPUT);
  const struct nk_tensor *output = find_matrix(model, architecture, NK_MATRIX_OUTPUT);
  bool tied = false;
  if (input == NULL || output == NULL || input == output || (tensor != input && tensor != output))
    return NULL;
  if (nk_model_matrix(model, NK_MATRIX_OUTPUT, &tied) == NULL) nki_clear_error();
  if (!tied || !have_same_bytes(input, output)) return NULL;
  return tensor == input ? output : input;
}

/* ---- Rows, without opening more than is needed ---- */

int nk_model_count_rows(const char *name, size_t *n_rows) {
  static const char *const tokenizers[] = {".json", ".model", ".txt", ".tiktoken"};
  *n_rows = 0;
  for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++)
    if (nki_ends_with(name, tokenizers[i])) return NK_OK;
  struct nk_model *model = nk_model_open(name);
  if (model == NULL) {
    int code = nk_error_code();
    if (code != NK_ENOTFOUND) return code;
    nki_clear_error();
    return NK_OK;
  }
  const struct nk_tensor *matrix = nk_model_matrix(model, NK_MATRIX_INPUT, NULL);
  if (matrix != NULL)
    *n_rows = matrix->shape[0];
  else
    nki_clear_error();
  nk_model_free(model);
  return NK_OK;
}
