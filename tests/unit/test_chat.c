/* Chat formats: against what models' own templates make of a turn, and the ids of Hugging Face's
 * library (tests/fixtures/chat.py). */
#include <noken/noken.h>

#include "make_gguf.h"

enum { N_CELLS = 4, MAX_LINE = 4096 };

struct table {
  FILE *file;
  char line[MAX_LINE];
  char *cell[N_CELLS]; /* unescaped in place */
};

/* Reads the next row of a table; false at its end. The first line is skipped. */
static bool next_row(struct table *t, const char *path) {
  if (t->file == NULL) {
    t->file = fopen(path, "r");
    assert_non_null(t->file);
    assert_non_null(fgets(t->line, sizeof t->line, t->file));
  }
  if (fgets(t->line, sizeof t->line, t->file) == NULL) {
    fclose(t->file);
    return false;
  }
  t->line[strcspn(t->line, "\n")] = 0;
  char *rest = t->line;
  for (size_t i = 0; i < N_CELLS; i++) {
    t->cell[i] = strsep(&rest, "\t");
    if (t->cell[i] == NULL) continue;
    struct nk_buffer plain = {0};
    nk_unescape(&plain, t->cell[i], strlen(t->cell[i]));
    memcpy(t->cell[i], plain.data != NULL ? plain.data : "", plain.size);
    t->cell[i][plain.size] = 0;
    nk_buffer_free(&plain);
  }
  return true;
}

static const struct nk_chat_format *format_called(const char *name) {
  for (size_t i = 0; i < NK_N_CHATS; i++)
    if (strcmp(nk_chat_formats[i].name, name) == 0) return &nk_chat_formats[i];
  fail_msg("no format %s", name);
  return NULL;
}

static void a_turn_is_what_the_models_template_makes_of_it(void **state) {
  (void)state;
  struct table t = {0};
  bool seen[NK_N_CHATS] = {false};
  while (next_row(&t, "tests/fixtures/chat/rendered.tsv")) {
    const struct nk_chat_format *format = format_called(t.cell[0]);
    char turn[512];
    snprintf(turn, sizeof turn, "%sXYZ%s", format->before, format->after);
    assert_string_equal(turn, t.cell[2]);
    seen[format - nk_chat_formats] = true;
  }
  for (size_t i = 0; i < NK_N_CHATS; i++) assert_true(seen[i]);
}

static void the_tables_of_prompts_have_the_formats_turns(void **state) {
  (void)state;
  for (size_t i = 0; i < NK_N_CHATS; i++) {
    const struct nk_chat_format *format = &nk_chat_formats[i];
    struct table t = {0};
    size_t n = 0;
    char path[64];
    snprintf(path, sizeof path, "data/prompts/chat-%s.tsv", format->name);
    for (; next_row(&t, path); n++) { /* prompt, repetition, special, text */
      assert_string_equal(t.cell[2], format->special);
      assert_int_equal(strncmp(t.cell[3], format->before, strlen(format->before)), 0);
      const char *end = strstr(t.cell[3], format->after);
      assert_non_null(end);
      const char *slot = strstr(t.cell[3], "{}");
      assert_true(slot != NULL && slot < end);
    }
    assert_int_equal(n, 4);
  }
}

static void the_ids_of_a_turn_are_hugging_faces(void **state) {
  (void)state;
  struct nk_tokenizer *tokenizer = nk_tokenizer_open("tests/fixtures/chat/tokenizer.json");
  struct table t = {0};
  size_t n_rows = 0;
  assert_non_null(tokenizer);
  for (; next_row(&t, "tests/fixtures/chat/ids.tsv"); n_rows++) { /* format, text, token, ids */
    const struct nk_chat_format *format = format_called(t.cell[0]);
    int64_t token = nk_tokenizer_id(tokenizer, t.cell[2], strlen(t.cell[2])), *ids;
    size_t n;
    char prompt[512];
    struct nk_buffer given = {0};
    snprintf(prompt, sizeof prompt, "%s%s%s", format->before, t.cell[1], format->after);
    assert_int_equal(nk_prompt_encode(tokenizer, prompt, strlen(prompt), true, &ids, &n), NK_OK);
    for (size_t i = 0; i < n; i++)
      nk_buffer_printf(&given, i > 0 ? " %lld" : "%lld",
                       (long long)(ids[i] == NK_VECTOR ? token : ids[i]));
    assert_string_equal(given.data, t.cell[3]);
    nk_buffer_free(&given);
    nk_free(ids);
  }
  assert_int_equal(n_rows, 36);
  nk_tokenizer_free(tokenizer);
}

/* The format of a GGUF file with this template, NULL: without one. */
static const struct nk_chat_format *format_of_gguf(void **state, const char *template) {
  const char *path = in(state, "chat.gguf");
  struct gguf g = {0};
  put_string(&g, "general.architecture", "llama");
  if (template != NULL) put_string(&g, "tokenizer.chat_template", template);
  put_zeros(&g, "token_embd.weight", 1, 1);
  save(&g, path);
  struct nk_model *model = nk_model_open(path);
  assert_non_null(model);
  const struct nk_chat_format *format = nk_model_chat_format(model);
  nk_model_free(model);
  return format;
}

static void a_gguf_files_template_gives_the_format(void **state) {
  assert_ptr_equal(format_of_gguf(state,
                                  "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
                                  "<|im_end|>\n{% endfor %}"),
                   &nk_chat_formats[NK_CHAT_CHATML]);
  assert_null(format_of_gguf(state, "<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>"));
  assert_int_equal(nk_error_code(), NK_EUNSUPPORTED);
  assert_non_null(strstr(nk_error(), "it has <|im_start|> <|im_sep|> <|im_end|>"));
  assert_null(format_of_gguf(state, NULL));
  assert_int_equal(nk_error_code(), NK_ENOTFOUND);
  assert_null(nk_model_chat_format(NULL));
}

/* Each template has the lines of a family's templates that write a turn, in other words. */
static void a_template_has_the_format_of_its_turns(void **state) {
  static const struct {
    const char *template, *format;
  } cases[] = {
      {"<|start_header_id|>{{ role }}<|end_header_id|>\n\n{{ text }}<|eot_id|>", "llama3"},
      {"<|start_header_id|>{{ role }}<|end_header_id|>\n\n>>>{{ to }}\n{{ text }}<|eot_id|>", NULL},
      {"<|start_header_id|>{{ role }}<|end_header_id|>\n\n{{ text }}<|end|>", NULL},
      {"<|im_start|>{{ role }}\n{{ text }}<|im_end|>\n<|im_start|>assistant\n<think>\n", "chatml"},
      {"<|im_start|>{{ role }}<|im_sep|>{{ text }}<|im_end|>", NULL},
      {"<|im_start|>{{ role }}: {{ text }}<end_of_utterance><|im_end|>", NULL},
      {"<|im_user|>{{ role }}<|im_middle|>{{ text }}<|im_end|>", NULL},
      {"<start_of_turn>{{ role }}\n{{ text }}<end_of_turn>\n", "gemma"},
      {"<|turn>{{ role }}\n{{ text }}<turn|>\n", NULL},
      {"[INST] {{ text }}[/INST]", "mistral"},
      {"[INST] {{ text }} [/INST]", NULL},
      {"[INST] <<SYS>>{{ system }}<</SYS>>{{ text }}[/INST]", NULL},
      {"[INST]{{ text }}[/INST]", "mistral-tekken"},
      {"<|user|>\n{{ text }}<|end|>\n<|assistant|>\n", "phi"},
      {"<|user|>\n{{ text }}</s>\n<|assistant|>\n", NULL},
      {"<|user|>\n{{ text }}\n<|end|>\n<|assistant|>[BEGIN FINAL RESPONSE]", NULL},
      {"User: {{ text }}\nAssistant:", NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const struct nk_chat_format *format = format_of_gguf(state, cases[i].template);
    const char *found = format == NULL ? "none" : format->name;
    const char *expected = cases[i].format == NULL ? "none" : cases[i].format;
    if (strcmp(found, expected) != 0)
      fail_msg("%s: %s, expected %s", cases[i].template, found, expected);
  }
}

/* NOKEN_TEMPLATES names a folder of models' templates, such as that of formats.tsv. */
static void models_own_templates_have_the_format_of_what_they_write(void **state) {
  const char *folder = getenv("NOKEN_TEMPLATES");
  struct table t = {0};
  size_t n = 0;
  if (folder == NULL) {
    print_message("no templates: NOKEN_TEMPLATES names their folder\n");
    skip();
  }
  while (next_row(&t, "tests/fixtures/chat/formats.tsv")) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, t.cell[0]);
    struct nk_file *file = nk_file_open(path);
    if (file == NULL) continue;
    char *template = nk_strndup((const char *)file->data, file->size);
    const struct nk_chat_format *format = format_of_gguf(state, template);
    const char *found = format == NULL ? "none" : format->name;
    if (strcmp(found, t.cell[1]) != 0) fail_msg("%s: %s, expected %s", path, found, t.cell[1]);
    nk_free(template);
    nk_file_free(file);
    n++;
  }
  assert_true(n > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_turn_is_what_the_models_template_makes_of_it),
      cmocka_unit_test(the_tables_of_prompts_have_the_formats_turns),
      cmocka_unit_test(the_ids_of_a_turn_are_hugging_faces),
      cmocka_unit_test(a_template_has_the_format_of_its_turns),
      cmocka_unit_test(models_own_templates_have_the_format_of_what_they_write),
      cmocka_unit_test(a_gguf_files_template_gives_the_format),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
