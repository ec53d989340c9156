/* nk-tune's input. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/model_folder.h"
#include "cli/own_layer.h"
#include "cli/probes.h"
#include "tune/tune.h"

/* ---- What is trained ---- */

/* A word, or "layers:3-5". */
static int read_train(struct tune_job *job) {
  static const char *const words[] = {"half", "all", "embedding", "norms"};
  static const enum nk_tune_part parts[] = {NK_TUNE_HALF, NK_TUNE_ALL, NK_TUNE_EMBEDDING,
                                            NK_TUNE_NORMS};
  const char *train = job->options.train;
  const struct nk_forward_shape *shape = nk_forward_shape(nk_model_forward(job->model));
  size_t *layers = NULL, n = 0;
  if (shape == NULL) return nk_error_code();
  if (train == NULL) return NK_OK;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcmp(train, words[i]) == 0) {
      job->tune.train = parts[i];
      return NK_OK;
    }
  if (strncmp(train, "layers:", 7) != 0)
    return nk_fail(NK_EUSAGE,
                   "--train: unknown part '%s' (half, all, embedding, norms, layers:A[-B])", train);
  int code = cli_parse_layers("--train", train + 7, 0, shape->n_layers - 1, &layers, &n);
  for (size_t i = 1; i < n && code == NK_OK; i++)
    if (layers[i] != layers[i - 1] + 1)
      code =
          nk_fail(NK_EUSAGE, "--train: '%s' is not one range of blocks, as layers:3-5 is", train);
  if (code == NK_OK) {
    job->tune.train = NK_TUNE_LAYERS;
    job->tune.first_layer = layers[0];
    job->tune.last_layer = layers[n - 1];
  }
  nk_free(layers);
  return code;
}

static int read_target(struct tune_job *job) {
  const char *target = job->options.target;
  if (target == NULL) return NK_OK;
  const struct nk_tokenizer *tokenizer = nk_model_tokenizer(job->model);
  if (tokenizer == NULL) return nk_error_code();
  job->target = nk_tokenizer_id(tokenizer, target, strlen(target));
  if (job->target < 0) return nk_fail(NK_EUSAGE, "--target: no token '%s'", target);
  job->tune.target = &job->target;
  return NK_OK;
}

/* ---- Sets, prompts, texts ---- */

/* A size that was not given is 0, the library's default; 0 itself is refused. */
static int check_size(const char *name, size_t given, size_t *out) {
  if (given == 0) return nk_fail(NK_EUSAGE, "%s: at least 1", name);
  *out = given == TUNE_NOT_GIVEN ? 0 : given;
  return NK_OK;
}

static int read_nokens(struct tune_job *job) {
  if (job->options.nokens == NULL) return nk_fail(NK_EUSAGE, "--nokens SET is needed");
  job->nokens = nk_vectors_read(job->options.nokens);
  if (job->nokens == NULL) return nk_error_code();
  int code = nk_vectors_check_finite(&job->nokens, false);
  job->tune.nokens = job->nokens;
  return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", job->options.nokens);
}

static int read_region(struct tune_job *job) {
  const struct tune_options *o = &job->options;
  int code = check_size("--search-every", o->search, &job->tune.n_search);
  if (code != NK_OK) return code;
  if ((o->region == NULL) != (o->search == TUNE_NOT_GIVEN))
    return nk_fail(NK_EUSAGE, "--search-every N and --region REGION go together");
  if (o->region == NULL && o->metric != TUNE_NO_METRIC)
    return nk_fail(NK_EUSAGE, "--metric is of the distances of --search-every N");
  if (o->region == NULL) return NK_OK;
  if (o->metric != TUNE_NO_METRIC) job->tune.metric = (enum nk_metric)(o->metric + NK_METRIC_L2);
  job->tune.region = job->region = nk_region_read(o->region);
  return job->region == NULL ? nk_error_code() : NK_OK;
}

static int read_prompts(struct tune_job *job) {
  const struct tune_options *o = &job->options;
  int code = cli_open_prompts(job->run, &o->texts, &o->prompts, o->chat, job->model, &job->prompts);
  if (code != NK_OK) return code;
  job->prompt_texts = nk_alloc(job->prompts.n, sizeof *job->prompt_texts);
  if (job->prompt_texts == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < job->prompts.n; i++) job->prompt_texts[i] = job->prompts.item[i].text;
  job->tune.prompts = job->prompt_texts;
  job->tune.n_prompts = job->prompts.n;
  return NK_OK;
}

/* The lines that are not empty. */
static int read_lines(struct tune_job *job) {
  if (job->options.text == NULL) return NK_OK;
  job->file = nk_file_open(job->options.text);
  if (job->file == NULL) return nk_error_code();
  const char *at = (const char *)job->file->data, *end = at + job->file->size;
  size_t n = 0, n_lines = 1;
  for (const char *c = at; c < end; c++) n_lines += *c == '\n';
  job->lines = nk_alloc(n_lines, sizeof *job->lines);
  if (job->lines == NULL) return NK_EMEMORY;
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline != NULL ? newline : end;
    size_t length = (size_t)(stop - at);
    if (length > 0 && stop[-1] == '\r') length--;
    if (length > 0) job->lines[n++] = (struct nk_text){at, length};
    at = newline != NULL ? newline + 1 : end;
  }
  if (n < 2)
    return nk_fail(NK_EDATA,
                   "%s: %zu lines of text: two or more are needed, as a part is "
                   "held out",
                   job->file->name, n);
  job->tune.texts = job->lines;
  job->tune.n_texts = n;
  return NK_OK;
}

/* Whether the tokenizer takes each line: what it does not take is named by its line in the file. */
static int check_lines(const struct tune_job *job) {
  const struct nk_tokenizer *tokenizer =
      job->tune.n_texts > 0 ? nk_model_tokenizer(job->model) : NULL;
  size_t line = 1;
  if (tokenizer == NULL) return job->tune.n_texts > 0 ? nk_error_code() : NK_OK;
  const char *at = (const char *)job->file->data;
  for (size_t i = 0; i < job->tune.n_texts; i++) {
    const struct nk_text *text = &job->lines[i];
    int64_t *ids = NULL;
    size_t n;
    for (; at < text->bytes; at++) line += *at == '\n';
    int code = nk_prompt_encode(tokenizer, text->bytes, text->n, false, &ids, &n);
    nk_free(ids);
    if (code != NK_OK) return nk_fail_in(code, "%s: line %zu", job->file->name, line);
  }
  return NK_OK;
}

/* The layer of the nokens, and whether the region is of it. */
static int find_layer(struct tune_job *job) {
  const struct tune_options *o = &job->options;
  bool given = o->at != TUNE_NOT_GIVEN;
  size_t *layer = &job->tune.layer;
  int code = cli_own_layer(job->model, o->nokens, job->nokens, layer, 1, &given);
  if (code != NK_OK || job->region == NULL) return code;
  given = true;
  return cli_own_layer(job->model, o->region, job->region->tokens, layer, 1, &given);
}

/* ---- The folder and its checkpoint ---- */

static int name_checkpoint(struct tune_job *job) {
  const char *folder = job->run->common.output;
  struct nk_buffer path = {0};
  if (folder == NULL || strcmp(folder, "-") == 0)
    return nk_fail(NK_EUSAGE, "a tuned model is a folder: name it with -o FOLDER");
  size_t n = strlen(folder);
  while (n > 1 && folder[n - 1] == '/') n--;
  nk_buffer_append(&path, folder, n);
  nk_buffer_text(&path, ".checkpoint");
  job->checkpoint = path.failed ? NULL : nk_strdup(path.data);
  nk_buffer_free(&path);
  return job->checkpoint != NULL ? NK_OK : nk_fail(NK_EMEMORY, "%s: out of memory", folder);
}

static int find_checkpoint(struct tune_job *job) {
  struct stat status;
  if (stat(job->checkpoint, &status) == 0)
    job->tune.checkpoint = job->checkpoint;
  else if (errno != ENOENT)
    return nk_fail_errno("%s", job->checkpoint);
  return NK_OK;
}

static int read_numbers(struct tune_job *job) {
  const struct tune_options *o = &job->options;
  struct nk_tune_options *t = &job->tune;
  const struct {
    const char *name;
    double value, *to;
  } numbers[] = {{"--rate", o->rate, &t->rate},
                 {"--weight", o->weight, &t->weight},
                 {"--hold-out", o->hold_out, &t->hold_out}};
  t->layer = o->at == TUNE_NOT_GIVEN ? 0 : o->at;
  t->mode = (enum nk_override_mode)o->mode;
  t->decay = o->decay;
  t->seed = job->run->common.seed;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    if (numbers[i].value == 0) return nk_fail(NK_EUSAGE, "%s: above 0", numbers[i].name);
    *numbers[i].to = numbers[i].value < 0 ? 0 : numbers[i].value; /* -1: not given */
    if (numbers[i].value < 0 && numbers[i].value != -1)
      return nk_fail(NK_EUSAGE, "%s: above 0", numbers[i].name);
  }
  int code = check_size("--steps", o->steps, &t->n_steps);
  if (code == NK_OK) code = check_size("--batch", o->batch, &t->n_batch);
  return code == NK_OK ? check_size("--evaluate", o->evaluate, &t->n_evaluate) : code;
}

int tune_read(struct tune_job *job) {
  int code = read_numbers(job);
  if (code == NK_OK) code = name_checkpoint(job);
  if (code == NK_OK) code = read_nokens(job);
  if (code == NK_OK) code = read_region(job);
  if (code == NK_OK) code = read_lines(job);
  if (code != NK_OK) return code;
  job->model = nk_model_open(job->run->operands[0]);
  if (job->model == NULL) return nk_error_code();
  code = cli_check_model_folder(job->model, job->run->common.output);
  if (code == NK_OK) code = check_lines(job);
  if (code == NK_OK) code = read_prompts(job);
  const struct nk_forward_shape *shape = nk_forward_shape(nk_model_forward(job->model));
  if (code == NK_OK && shape == NULL) code = nk_error_code();
  if (code == NK_OK) code = cli_check_dim(job->options.nokens, job->nokens->dim, shape);
  if (code == NK_OK) code = find_layer(job);
  if (code == NK_OK) code = read_train(job);
  if (code == NK_OK) code = read_target(job);
  return code == NK_OK ? find_checkpoint(job) : code;
}

void tune_free(struct tune_job *job) {
  nk_vectors_free(job->nokens);
  nk_region_free(job->region);
  nk_model_free(job->model);
  cli_prompts_free(&job->prompts);
  cli_strings_free(&job->options.texts);
  cli_strings_free(&job->options.prompts);
  nk_free(job->prompt_texts);
  nk_free(job->lines);
  nk_file_free(job->file);
  nk_free(job->checkpoint);
}
