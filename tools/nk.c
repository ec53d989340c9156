/* nk: runs a tool by its short name, or lists the tools. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/kernels.h"
#include "cli/process.h"
#include "cli/signals.h"
#include "cli/tool.h"

enum { PATH_SIZE = 4096 };

/* In the order in which they are used. */
static const char *const names[] = {"info", "extract", "tokens",   "stats",   "pca",
                                    "knn",  "glitch",  "verify",   "region",  "sample",
                                    "run",  "search",  "boundary", "trace",   "compare",
                                    "tune", "summary", "plot",     "convert", "survey"};

/* The path of nk-NAME in the folder of this program: all tools are installed there. */
static void tool_path(const char *name, char path[PATH_SIZE]) {
  char folder[PATH_SIZE - 64];
  ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
  folder[n > 0 ? n : 0] = 0;
  char *slash = strrchr(folder, '/');
  if (slash != NULL) slash[1] = 0;
  snprintf(path, PATH_SIZE, "%snk-%.32s", folder, name);
}

/* Appends the summary of the tool at path: the second line of its own --help. */
static int append_summary(const char *path, struct nk_buffer *out) {
  const char *const command[] = {path, "--help", NULL};
  struct nk_buffer help = {0}, errors = {0};
  int status = 0;
  int code = cli_process_run(command, NULL, &help, &errors, &status);
  const char *line = code == NK_OK && help.size > 0 ? strchr(help.data, '\n') : NULL;
  if (line != NULL) nk_buffer_append(out, line + 1, strcspn(line + 1, "\n"));
  nk_buffer_free(&help);
  nk_buffer_free(&errors);
  return code;
}

static int list_tools(void) {
  struct nk_buffer text = {0};
  int code = NK_OK;
  nk_buffer_printf(&text, "nk %s: analysis of token embeddings, glitch tokens and nokens\n\n",
                   nk_version());
  for (size_t i = 0; i < sizeof names / sizeof *names && code == NK_OK; i++) {
    char path[PATH_SIZE];
    tool_path(names[i], path);
    if (access(path, X_OK) != 0) continue;
    nk_buffer_printf(&text, "  nk %-9s ", names[i]);
    code = append_summary(path, &text);
    nk_buffer_byte(&text, '\n');
  }
  nk_buffer_text(&text, "\nsee 'nk NAME --help' or 'man nk-NAME'\n");
  if (code == NK_OK) code = cli_print(&text);
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
  cli_start_with_fast_kernels(argv); /* the tool then has the environment already */
  if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
    code = list_tools();
  else if (strcmp(first, "--version") == 0)
    code = print_version();
  else
    code = run_tool(argv);
  return cli_end(&run, code);
}
