#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

// Just enough of numpy's .npz to read what numpy.savez and savez_compressed write: f4, f8, i4 and i8 arrays
// in C order.

namespace nibble::test {

struct NpyArray {
  std::vector<int64_t> shape;
  std::vector<double> values;
  std::vector<float> floats() const { return {values.begin(), values.end()}; }
  std::vector<int32_t> ints() const { return {values.begin(), values.end()}; }
};

inline NpyArray parse_npy(const std::string& bytes) {
  if (bytes.compare(0, 6, "\x93NUMPY") != 0) throw std::runtime_error("no npy array");
  const size_t start = bytes[6] == 1 ? 10 : 12;
  size_t length = static_cast<uint8_t>(bytes[8]) | static_cast<size_t>(static_cast<uint8_t>(bytes[9])) << 8;
  const std::string header = bytes.substr(start, length);
  const std::string type = header.substr(header.find("'descr': '") + 10, 3);
  if (header.find("'fortran_order': False") == std::string::npos) throw std::runtime_error("not in C order");
  NpyArray a;
  size_t count = 1;
  const size_t open = header.find('(');
  std::string dims = header.substr(open + 1, header.find(')') - open - 1);
  for (size_t at = 0; at < dims.size();) {
    const size_t comma = std::min(dims.find(',', at), dims.size());
    const std::string word = dims.substr(at, comma - at);
    if (word.find_first_of("0123456789") != std::string::npos) {
      a.shape.push_back(std::stoll(word));
      count *= static_cast<size_t>(a.shape.back());
    }
    at = comma + 1;
  }
  const char* data = bytes.data() + start + length;
  const auto read = [&]<class T>(T) {
    if (bytes.size() < start + length + count * sizeof(T)) throw std::runtime_error("npy array cut short");
    for (size_t i = 0; i < count; ++i) {
      T v;
      std::memcpy(&v, data + i * sizeof v, sizeof v);
      a.values.push_back(static_cast<double>(v));
    }
  };
  if (type == "<f4") {
    read(float{});
  } else if (type == "<f8") {
    read(double{});
  } else if (type == "<i4") {
    read(int32_t{});
  } else if (type == "<i8") {
    read(int64_t{});
  } else {
    throw std::runtime_error("npy type " + type);
  }
  return a;
}

inline std::map<std::string, NpyArray> read_npz(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string all((std::istreambuf_iterator<char>(file)), {});
  const auto number = [&](size_t at, size_t n) {
    uint64_t v = 0;
    for (size_t i = 0; i < n; ++i) v |= static_cast<uint64_t>(static_cast<uint8_t>(all.at(at + i))) << 8 * i;
    return static_cast<size_t>(v);
  };
  const size_t end = all.rfind("PK\5\6");
  if (end == std::string::npos) throw std::runtime_error("no zip file: " + path.string());
  std::map<std::string, NpyArray> arrays;
  size_t at = number(end + 16, 4);
  for (size_t left = number(end + 10, 2); left > 0; --left) {
    const size_t method = number(at + 10, 2), packed = number(at + 20, 4), size = number(at + 24, 4);
    const std::string name = all.substr(at + 46, number(at + 28, 2));
    const size_t local = number(at + 42, 4);
    const size_t data = local + 30 + number(local + 26, 2) + number(local + 28, 2);
    std::string bytes(size, '\0');
    if (method == 0) {
      bytes = all.substr(data, size);
    } else {
      z_stream z{};
      inflateInit2(&z, -15);
      z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(all.data() + data));
      z.avail_in = static_cast<uInt>(packed);
      z.next_out = reinterpret_cast<Bytef*>(bytes.data());
      z.avail_out = static_cast<uInt>(size);
      const int rc = inflate(&z, Z_FINISH);
      inflateEnd(&z);
      if (rc != Z_STREAM_END) throw std::runtime_error("damaged zip entry " + name);
    }
    arrays[name.substr(0, name.size() - 4)] = parse_npy(bytes);  // without .npy
    at += 46 + number(at + 28, 2) + number(at + 30, 2) + number(at + 32, 2);
  }
  return arrays;
}

}  // namespace nibble::test
