/* nk: runs a tool by its short name, or lists the tools. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/kernels.h"
#include "cli/signals.h"
#include "cli/tool.h"

enum { PATH_SIZE = 4096 };

/* In the order in which they are used, each with the summary of its --help (a test compares). */
static const struct {
  const char *name, *summary;
} tools[] = {
    {"info", "what a model is, and what can be done with it"},
    {"extract", "the embedding matrix of a model as a vector set"},
    {"tokens", "a tokenizer's vocabulary, text to token ids and back"},
    {"stats", "lengths and distances of every row of a vector set"},
    {"pca", "principal components of a vector set"},
    {"knn", "nearest neighbours of every row of a vector set"},
    {"glitch", "rank a vocabulary by distance from the rows of unused tokens"},
    {"verify", "whether the model repeats a token"},
    {"region", "region in distribution, and conformal p-values of vectors"},
    {"sample", "nokens at controlled distances from a region"},
    {"run", "what nokens and tokens do in a prompt"},
    {"search", "nokens that do the most under a constraint"},
    {"boundary", "how far vectors have to go along rays to change the output"},
    {"trace", "which outputs inside a model carry what nokens and tokens do"},
    {"compare", "what differs between a model and a changed copy of it"},
    {"tune", "a fine-tuned copy of a model in which nokens do nothing unusual"},
    {"summary", "shares, medians, AUCs of groups of rows, with intervals"},
    {"plot", "a table as a histogram, scatter, scree, curve, paths or heatmap"},
    {"convert", "a vector set in other programs' formats"},
    {"survey", "the whole study of a model in one command, and its report"},
};

/* The path of nk-NAME in the folder of this program: all tools are installed there. */
static void tool_path(const char *name, char path[PATH_SIZE]) {
  char folder[PATH_SIZE - 64];
  ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
  folder[n > 0 ? n : 0] = 0;
  char *slash = strrchr(folder, '/');
  if (slash != NULL) slash[1] = 0;
  snprintf(path, PATH_SIZE, "%snk-%.32s", folder, name);
}

static int list_tools(void) {
  struct nk_buffer text = {0};
  nk_buffer_printf(&text, "nk %s: analysis of token embeddings, glitch tokens and nokens\n\n",
                   nk_version());
  for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
    char path[PATH_SIZE];
    tool_path(tools[i].name, path);
    if (access(path, X_OK) == 0)
      nk_buffer_printf(&text, "  nk %-9s %s\n", tools[i].name, tools[i].summary);
  }
  nk_buffer_text(&text, "\nsee 'nk NAME --help' or 'man nk-NAME'\n");
  int code = cli_print(&text);
  nk_buffer_free(&text);
  return code;
}

static int print_version(void) {
  struct nk_buffer text = {0};
  cli_version("nk", &text);
  int code = cli_print(&text);
  nk_buffer_free(&text);
  return code;
}

/* Replaces this process by nk-NAME, where argv[1] is NAME or nk-NAME. Returns only on failure. */
static int run_tool(char **argv) {
  const char *name = strncmp(argv[1], "nk-", 3) == 0 ? argv[1] + 3 : argv[1];
  char path[PATH_SIZE];
  tool_path(name, path);
  if (strchr(name, '/') == NULL && strlen(name) <= 32) {
    argv[1] = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    execv(path, argv + 1);
    if (errno != ENOENT) return nk_fail_errno("%s", path);
  }
  return nk_fail(NK_EUSAGE, "unknown tool '%s' (nk without arguments lists the tools)", name);
}

int main(int argc, char **argv) {
  const struct cli_tool tool = {.name = "nk"};
  struct cli_run run = {.tool = &tool};
  const char *first = argc > 1 ? argv[1] : "--help";
  int code;
  cli_catch_signals("nk");
  if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0) return cli_end(&run, list_tools());
  cli_start_with_fast_kernels(argv); /* the tool then has the environment already */
  if (strcmp(first, "--version") == 0)
    code = print_version();
  else
    code = run_tool(argv);
  return cli_end(&run, code);
}
