#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace nibble::test {

/// Changes the values of one f32 tensor [rows, cols] of a safetensors file in place.
inline void patch_tensor(const std::filesystem::path& path, const std::string& name,
                         const std::function<void(std::vector<float>& x, int64_t cols)>& change) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.exceptions(std::ios::failbit | std::ios::badbit);
  uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), sizeof length);
  std::string header(length, ' ');
  file.read(header.data(), static_cast<std::streamsize>(length));
  const auto entry = nlohmann::json::parse(header).at(name);
  if (entry.at("dtype") != "F32") throw std::runtime_error(name + " is not F32");
  const auto begin = entry.at("data_offsets").at(0).get<int64_t>();
  const auto end = entry.at("data_offsets").at(1).get<int64_t>();
  std::vector<float> x(static_cast<size_t>(end - begin) / sizeof(float));
  const auto at = static_cast<std::streamoff>(8 + length) + begin;
  file.seekg(at);
  file.read(reinterpret_cast<char*>(x.data()), end - begin);
  change(x, entry.at("shape").back().get<int64_t>());
  file.seekp(at);
  file.write(reinterpret_cast<const char*>(x.data()), end - begin);
}

}  // namespace nibble::test
