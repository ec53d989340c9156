/* nk-convert --model: a whole model as GGUF or as a folder, with the weights of another order or
 * other rows where asked. */
#include "convert/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/model_folder.h"

static int write_gguf(const struct cli_run *run, const struct nk_model *model,
                      const struct nk_model_write_options *options) {
  struct nk_output *output = cli_output(run, NK_OUTPUT_BINARY);
  int code = output != NULL ? nk_model_write(model, options, output) : nk_error_code();
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  return code;
}

static int read_seed(const struct convert_model *o, struct nk_model_write_options *options) {
  if (o->shuffle.n == 0) return NK_OK;
  const char *text = o->shuffle.item[o->shuffle.n - 1];
  char *end;
  errno = 0;
  options->shuffle = true;
  options->seed = strtoull(text, &end, 10);
  if (text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0) return NK_OK;
  return nk_fail(NK_EUSAGE, "--shuffle-weights: '%s' is not a seed, a whole number", text);
}

/* ---- Other rows ---- */

/* Writes the folder with other rows of the tokens of --patch-rows in the input matrix. An output
 * matrix of its own has them on request only: rows that are a mean of others make the tokens more
 * probable than training left them, in every text. */
static int write_patched(struct nk_model *model, const struct convert_model *o,
                         struct nk_model_write_options *options, const char *folder) {
  const struct nk_patch_options how = {.source = (enum nk_patch_source)o->with,
                                       .k = o->k != SIZE_MAX ? o->k : 0};
  static const enum nk_matrix which[] = {NK_MATRIX_INPUT, NK_MATRIX_OUTPUT};
  struct nk_patch patches[2] = {{0}};
  int64_t *ids = NULL;
  size_t n = 0;
  bool tied = false;
  int code = cli_read_verified(o->patch, &ids, &n);
  if (code == NK_OK && n == 0) nk_warn("%s: no tokens are listed: no row is replaced", o->patch);
  if (code == NK_OK && nk_model_matrix(model, NK_MATRIX_OUTPUT, &tied) == NULL)
    code = nk_error_code();
  options->n_patches = o->patch_output && !tied ? 2 : 1;
  options->patches = patches;
  if (code == NK_OK) code = nk_patch_rows(model, which, options->n_patches, &how, ids, n, patches);
  if (code == NK_OK) code = cli_write_model_folder(model, options, folder);
  options->n_patches = 0;
  options->patches = NULL;
  for (size_t i = 0; i < 2; i++) {
    nk_free(patches[i].rows);
    nk_free(patches[i].values);
  }
  nk_free(ids);
  return code;
}

/* ---- Usage ---- */

static int check_patch(const struct convert_model *o) {
  if (o->patch != NULL && o->shuffle.n > 0)
    return nk_fail(NK_EUSAGE, "--patch-rows and --shuffle-weights exclude each other");
  if (o->patch != NULL && o->with == CONVERT_NOT_CHOSEN)
    return nk_fail(NK_EUSAGE,
                   "--patch-rows: say what the rows become: --with mean, neighbours or text");
  if (o->patch == NULL && (o->with != CONVERT_NOT_CHOSEN || o->patch_output))
    return nk_fail(NK_EUSAGE, "%s is of rows that are replaced: give --patch-rows TABLE",
                   o->patch_output ? "--patch-output" : "--with");
  if (o->k != SIZE_MAX && o->with != NK_PATCH_NEIGHBOURS)
    return nk_fail(NK_EUSAGE, "--neighbours is of --with neighbours");
  if (o->k == 0) return nk_fail(NK_EUSAGE, "--neighbours: at least 1");
  return NK_OK;
}

static int check_model(const struct cli_run *run, const struct convert_model *o) {
  const char *output = run->common.output;
  bool folder = o->format == CONVERT_HF;
  if (run->n_operands == 0) return nk_fail(NK_EUSAGE, "--model: the operand MODEL is missing");
  if (folder && o->type != CONVERT_NOT_CHOSEN)
    return nk_fail(NK_EUSAGE, "--type is of a GGUF: --model hf keeps the types");
  if (!folder && o->shuffle.n > 0)
    return nk_fail(NK_EUSAGE, "--shuffle-weights is of a folder: use --model hf");
  if (!folder && o->patch != NULL)
    return nk_fail(NK_EUSAGE, "--patch-rows is of a folder: use --model hf");
  if (folder && (output == NULL || strcmp(output, "-") == 0))
    return nk_fail(NK_EUSAGE, "--model hf writes a folder: name it with -o FOLDER");
  return check_patch(o);
}

int convert_check_no_model(const struct convert_model *o) {
  if (o->type != CONVERT_NOT_CHOSEN)
    return nk_fail(NK_EUSAGE, "--type is of a model's matrices: give --model too");
  if (o->shuffle.n > 0)
    return nk_fail(NK_EUSAGE, "--shuffle-weights is of a model: give --model hf too");
  if (o->patch != NULL)
    return nk_fail(NK_EUSAGE, "--patch-rows is of a model: give --model hf too");
  return check_patch(o);
}

/* ---- The whole ---- */

int convert_model(const struct cli_run *run, const struct convert_model *o) {
  static const enum nk_dtype types[] = {NK_F32, NK_F16, NK_BF16, NK_Q8_0};
  struct nk_model_write_options options = {.dtype =
                                               types[o->type == CONVERT_NOT_CHOSEN ? 0 : o->type]};
  int code = check_model(run, o);
  if (code == NK_OK) code = read_seed(o, &options);
  if (code != NK_OK) return code;
  struct nk_model *model = nk_model_open(run->operands[0]);
  if (model == NULL) return nk_error_code();
  if (o->format == CONVERT_HF) {
    options.format = NK_MODEL_SAFETENSORS;
    code = o->patch != NULL ? write_patched(model, o, &options, run->common.output)
                            : cli_write_model_folder(model, &options, run->common.output);
  } else {
    code = write_gguf(run, model, &options);
  }
  nk_model_free(model);
  return code;
}
