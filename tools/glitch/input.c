/* What nk-glitch ranks: a model, or sets. */
#include <math.h>

#include "glitch/glitch.h"

static int read_model(const char *name, struct glitch_tokens *t) {
  if ((t->model = nk_model_open(name)) == NULL) return nk_error_code();
  if (nk_model_folder(t->model) != NULL) t->tokenizer = nk_tokenizer_open(name);
  if (t->tokenizer != NULL) return NK_OK;
  if (nk_model_folder(t->model) != NULL && nk_error_code() != NK_ENOTFOUND) return nk_error_code();
  nk_warn("%s has no tokenizer: nothing is known of its tokens", nk_model_name(t->model));
  return NK_OK;
}

static int read_sets(struct glitch_tokens *t) {
  if (t->options.unused == NULL) return nk_fail(NK_EUSAGE, "--output-set needs --unused");
  int code = cli_parse_ids("--unused", t->options.unused, &t->unused, &t->n_unused);
  if (code != NK_OK) return code;
  if ((t->output = nk_vectors_read(t->options.output_set)) == NULL) return nk_error_code();
  if (t->options.input_set == NULL) return NK_OK;
  return (t->input = nk_vectors_read(t->options.input_set)) != NULL ? NK_OK : nk_error_code();
}

struct nk_glitch *glitch_rank(const struct glitch_tokens *t, const struct nk_glitch_options *how,
                              enum nk_category **category) {
  return t->model != NULL ? nk_glitch_of_model(t->model, t->tokenizer, how, category)
                          : nk_glitch_of_sets(t->output, t->input, t->unused, t->n_unused, how);
}

int glitch_open(const struct cli_run *run, struct glitch_tokens *t) {
  if ((run->n_operands == 1) == (t->options.output_set != NULL) ||
      (t->options.input_set != NULL && t->options.output_set == NULL))
    return nk_fail(NK_EUSAGE, "give a MODEL, or --output-set and --unused");
  if (t->options.unused != NULL && t->options.output_set == NULL)
    return nk_fail(NK_EUSAGE, "--unused needs --output-set: of a model the unused rows are known");
  if (t->options.fdr < 0 || t->options.fdr > 1)
    return nk_fail(NK_EUSAGE, "--fdr %.9g: a rate from 0 to 1 is needed", t->options.fdr);
  if (t->options.ablate && t->options.truth == NULL)
    return nk_fail(NK_EUSAGE, "--ablate needs --truth");
  if (t->options.summary && (t->options.truth != NULL || t->options.with != NULL ||
                             t->options.top > 0 || t->options.threshold > -INFINITY))
    return nk_fail(NK_EUSAGE, "--summary excludes --truth, --with, --top and --threshold");
  int code = t->options.output_set != NULL ? read_sets(t) : read_model(run->operands[0], t);
  if (code != NK_OK) return code;
  return (t->glitch = glitch_rank(t, &t->options.how, &t->category)) != NULL ? NK_OK
                                                                             : nk_error_code();
}

void glitch_free(struct glitch_tokens *t) {
  nk_glitch_free(t->glitch);
  cli_token_texts_free(&t->texts);
  nk_free(t->category);
  nk_free(t->unused);
  nk_tokenizer_free(t->tokenizer);
  nk_vectors_free(t->output);
  nk_vectors_free(t->input);
  nk_model_free(t->model);
}

int glitch_read_table(const char *path, const struct glitch_tokens *t, struct cli_frame **frame,
                      int64_t **row_of) {
  if ((*frame = cli_frame_read(path)) == NULL) return nk_error_code();
  if ((*row_of = nk_alloc(t->glitch->n, sizeof **row_of)) == NULL) return NK_EMEMORY;
  const int64_t *ids = t->output != NULL ? t->output->ids : NULL;
  return cli_match_ids(*frame, ids, t->glitch->n, *row_of);
}
