/* nk: runs a tool by its short name, or lists the tools. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/tool.h"

static const struct {
  const char *name;
  const char *summary;
} tools[] = {
    {"extract", "the embedding matrix of a model as a vector set"},
    {"tokens", "a tokenizer's vocabulary, text to token ids and back"},
    {"stats", "lengths and distances of every row of a vector set"},
    {"pca", "principal components of a vector set"},
    {"knn", "nearest neighbours of every row of a vector set"},
    {"glitch", "rank a vocabulary by how little training its rows show"},
    {"verify", "does the model repeat the token?"},
    {"region", "what is in distribution, and how far outside vectors lie"},
    {"sample", "nokens at controlled distances from a region"},
    {"run", "what nokens and tokens do in a prompt"},
    {"plot", "a picture of a table: histogram, scatter, scree, curve, heatmap"},
    {"convert", "a vector set in other programs' formats"},
};

/* The folder that this program lies in, with a closing '/'; "" when the system does not tell. */
static void own_folder(char *folder, size_t size) {
  ssize_t n = readlink("/proc/self/exe", folder, size - 1);
  folder[n > 0 ? n : 0] = 0;
  char *slash = strrchr(folder, '/');
  if (slash) slash[1] = 0;
}

static void list_tools(const char *folder) {
  printf("nk %s: analysis of token embeddings, glitch tokens and nokens\n\n", nk_version());
  for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
    char path[4096 + 64];
    snprintf(path, sizeof path, "%snk-%s", folder, tools[i].name);
    if (access(path, X_OK) == 0) printf("  nk %-9s %s\n", tools[i].name, tools[i].summary);
  }
  printf("\nnk NAME --help tells of a tool's options, man nk-NAME of everything.\n");
}

static int run_tool(const char *folder, char **argv) {
  const char *name = strncmp(argv[1], "nk-", 3) == 0 ? argv[1] + 3 : argv[1];
  char path[4096 + 64];
  if (strchr(name, '/') || strlen(name) > 32) {
    fprintf(stderr, "nk: '%s' is no tool's name (nk alone lists them)\n", argv[1]);
    return 2;
  }
  snprintf(path, sizeof path, "%snk-%s", folder, name);
  argv[1] = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
  execv(path, argv + 1);
  if (errno == ENOENT) {
    fprintf(stderr, "nk: there is no tool '%s' (nk alone lists them)\n", name);
    return 2;
  }
  fprintf(stderr, "nk: %s: %s\n", path, strerror(errno));
  return 1;
}

int main(int argc, char **argv) {
  char folder[4096];
  own_folder(folder, sizeof folder);
  if (argc > 1 && strcmp(argv[1], "--version") == 0) {
    printf("nk (noken) %s\n", nk_version());
  } else if (argc > 1 && strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0) {
    return run_tool(folder, argv);
  } else {
    list_tools(folder);
  }
  if (fflush(stdout) == 0) return 0;
  fprintf(stderr, "nk: standard output: %s\n", strerror(errno));
  return 1;
}
