// Runs every file of corpus/ENTRY through its entry: what fuzzing once found stays mended, in every
// build.
//
//     fuzz_replay DIRECTORY
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "entries.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  for (const auto& entry : nexus::fuzz::kEntries) {
    std::size_t files = 0;
    const auto directory = std::filesystem::path(argv[1]) / entry.name;
    for (const auto& file : std::filesystem::directory_iterator(directory)) {
      std::fprintf(stderr, "%s\n", file.path().c_str());  // the last one is the culprit
      std::ifstream in(file.path(), std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      entry.run(text);
      ++files;
    }
    if (files == 0) {
      std::fprintf(stderr, "%s: no files\n", directory.c_str());
      return 1;
    }
  }
  return 0;
}
