// The container and the case in it; each test is named after what a careless reader would let through.
#include "normproof/properties/safetensors.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "normproof/properties/case_file.h"
#include "normproof/properties/recipe.h"

namespace normproof::properties {
namespace {

using ::testing::HasSubstr;
using ::testing::Property;
using ::testing::Throws;
using Refusal = std::invalid_argument;

auto says(const std::string& what) {
  return Throws<Refusal>(Property(&Refusal::what, HasSubstr(what)));
}

std::string file(const std::string& header, const std::string& data = {}) {
  std::string out(8, '\0');
  out[0] = static_cast<char>(header.size());
  return out + header + data;
}

TEST(Safetensors, a_value_changes_on_the_way_out_and_in) {
  Safetensors content;
  const double inf = std::numeric_limits<double>::infinity();
  content.tensors["half"] = {f16, {2, 2}, {0x1.ffcp+15, -0x1p-24, -0.0, inf}};
  content.tensors["brain"] = {bf16, {3}, {0x1.fep+127, 0x1p-133, -1.5}};
  content.tensors["single"] = {f32, {1}, {0x1.fffffep+127}};
  content.tensors["double"] = {f64, {1, 2}, {0x1.fffffffffffffp+1023, 0x1p-1074}};
  content.tensors["none"] = {f32, {0, 4}, {}};
  content.metadata["a"] = "b";
  const Safetensors read = parse_safetensors(write_safetensors(content), "f");
  EXPECT_EQ(read.metadata, content.metadata);
  ASSERT_EQ(read.tensors.size(), content.tensors.size());
  for (const auto& [name, t] : content.tensors) {
    EXPECT_EQ(read.tensors.at(name).values, t.values) << name;
    EXPECT_EQ(read.tensors.at(name).shape, t.shape) << name;
    EXPECT_EQ(read.tensors.at(name).format, t.format) << name;
  }
  EXPECT_TRUE(std::signbit(read.tensors.at("half").values[2]));
}

TEST(Safetensors, the_bytes_are_not_those_that_other_readers_expect) {
  Safetensors content;
  content.tensors["t"] = {f32, {1}, {1}};
  const std::string bytes = write_safetensors(content);
  const std::string header = R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  EXPECT_EQ(static_cast<std::size_t>(bytes[0]) % 8, 0U) << "data begin at a multiple of 8";
  EXPECT_EQ(bytes.substr(8, header.size()), header);
  EXPECT_EQ(bytes.substr(bytes.size() - 4), std::string("\x00\x00\x80\x3f", 4));
}

TEST(Safetensors, a_broken_file_is_read_in_part) {
  const auto reading = [](const std::string& bytes) {
    return [bytes] {
      parse_safetensors(bytes, "f");
    };
  };
  EXPECT_THAT(reading("1234567"), says("shorter"));
  EXPECT_THAT(reading(std::string(8, '\xff')), says("its header would have"));
  EXPECT_THAT(reading(file("{")), says("no JSON"));
  EXPECT_THAT(reading(file("[]")), says("no JSON object"));
  EXPECT_THAT(reading(file(R"({"t":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "x")),
              says("'t' is of I8"));
  EXPECT_THAT(reading(file(R"({"t":{"dtype":"F16","shape":[2],"data_offsets":[0,2]}})", "xx")),
              says("'t' has 2 values"));
  EXPECT_THAT(reading(file(R"({"t":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})")), says("of 0"));
  EXPECT_THAT(reading(file(R"({"t":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})", "xxy")),
              says("1 bytes"));
  EXPECT_THAT(reading(file(R"({"t":{"dtype":"F16","shape":[1],"data_offsets":[1,3]}})", "xxy")),
              says("begins at byte 1"));
  EXPECT_THAT(reading(file(R"({"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},)"
                           R"("b":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})",
                           "xx")),
              says("begins at byte 0, where 2"));
  EXPECT_THAT(reading(file(R"({"t":{"dtype":"F16","shape":[-1],"data_offsets":[0,0]}})")),
              says("impossible shape"));
  EXPECT_THAT(reading(file(R"({"t":{"dtype":"F16","shape":"1"}})")), says("'t'"));
}

/// The same case by both files: batch before channel in one, channel before batch in the other.
TEST(Safetensors, the_tensor_order_is_taken_for_the_case_order) {
  for (const char* line : {"np1 pass=double-backward dtype=bf16 stats=bf16 shape=3x4x5 regime=normal seed=2",
                           "np1 pass=forward-inference dtype=f16 shape=2x3 regime=normal running=1 seed=3"}) {
    const Case c = expand(std::get<Recipe>(parse_recipe(line)));
    Safetensors content;
    const auto& s = c.problem.shape;
    std::vector<std::int64_t> shape{s.batch, s.channels};
    shape.insert(shape.end(), s.spatial.begin(), s.spatial.end());
    const auto spatial = static_cast<std::size_t>(s.per_channel() / s.batch);
    const auto put = [&](const char* name, const std::vector<double>& values, bool per_element) {
      if (values.empty())
        return;
      StoredTensor t{per_element ? c.problem.data : c.problem.stats, {s.channels}, values};
      if (per_element) {
        t.shape = shape;
        for (std::size_t i = 0; i < values.size(); ++i) {
          const std::size_t place = i % spatial, k = i / spatial % static_cast<std::size_t>(s.channels),
                            b = i / spatial / static_cast<std::size_t>(s.channels);
          t.values[i] = values[k * static_cast<std::size_t>(s.per_channel()) + b * spatial + place];
        }
      }
      content.tensors[name] = t;
    };
    put("x", c.x, true), put("dy", c.dy, true), put("v_x", c.v_x, true);
    put("gamma", c.gamma, false), put("beta", c.beta, false);
    put("running_mean", c.running_mean, false), put("running_var", c.running_var, false);
    put("saved_mean", c.saved_mean, false), put("saved_invstd", c.saved_invstd, false);
    put("v_gamma", c.v_gamma, false), put("v_beta", c.v_beta, false);
    content.metadata["normproof_case"] =
        std::string(R"({"pass": ")") + std::string(to_string(c.problem.pass)) + R"(", "eps": ")" +
        hex_float(c.problem.eps) + R"(", "momentum": ")" + hex_float(*c.problem.momentum) +
        R"(", "num_batches_tracked": )" + std::to_string(c.num_batches_tracked) + "}";
    const Case read = case_from_safetensors(write_safetensors(content), "f");
    EXPECT_EQ(write_case(read), write_case(c)) << line;

    Safetensors wrong = content;
    wrong.tensors["gama"] = wrong.tensors["gamma"];
    EXPECT_THAT([&] { case_from_safetensors(write_safetensors(wrong), "f"); }, says("nearest is 'gamma'"));
    wrong = content;
    wrong.tensors["gamma"].format = f64;
    EXPECT_THAT([&] { case_from_safetensors(write_safetensors(wrong), "f"); }, says("is wanted"));
    wrong = content;
    wrong.metadata.clear();
    EXPECT_THAT([&] { case_from_safetensors(write_safetensors(wrong), "f"); }, says("normproof_case"));
  }
}

}  // namespace
}  // namespace normproof::properties
