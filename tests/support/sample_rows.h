#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/half.h"

namespace nibble::test {

struct Matrix {
  int64_t cols = 0;
  std::vector<float> x;  ///< the sampled rows
};

/// Every step-th row of every bf16 matrix of a safetensors file, by the order of names.
inline std::map<std::string, Matrix> sample_rows(const std::filesystem::path& path, int64_t step) {
  std::ifstream in(path, std::ios::binary);
  in.exceptions(std::ios::failbit | std::ios::badbit);
  uint64_t length = 0;
  in.read(reinterpret_cast<char*>(&length), sizeof length);
  std::string text(length, ' ');
  in.read(text.data(), static_cast<std::streamsize>(length));
  std::map<std::string, Matrix> matrices;
  const auto header = nlohmann::json::parse(text);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__" || entry["shape"].size() != 2) continue;
    const int64_t rows = entry["shape"][0], cols = entry["shape"][1];
    const int64_t begin = entry["data_offsets"][0];
    Matrix& m = matrices[name];
    m.cols = cols;
    std::vector<uint16_t> row(static_cast<size_t>(cols));
    for (int64_t r = 0; r < rows; r += step) {
      in.seekg(static_cast<std::streamoff>(8 + length) + begin + r * cols * 2);
      in.read(reinterpret_cast<char*>(row.data()), cols * 2);
      for (const uint16_t h : row) m.x.push_back(bf16_to_f32(h));
    }
  }
  return matrices;
}

}  // namespace nibble::test
