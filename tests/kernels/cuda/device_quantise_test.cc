// On a GPU: functions and the quantiser give the CPU's bits.
#include "device_test.h"
#include "kernels/cuda/bodies/functions.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/start.h"
#include "kernels/matmul.h"

namespace fairway::cuda {
namespace {

class DeviceFunctions : public test::OnDevice {};

TEST_F(DeviceFunctions, GiveTheBitsOfTheCpu) {
  struct Range {
    Function function;
    uint32_t first, last, stride;
  };
  // Both signs where the function takes them; 2^22 values of each and every subnormal's neighbourhood.
  const Range ranges[] = {
      {Function::kExp2Unit, 0, 0x3f800001u, 251},          {Function::kExp, 0, 0x43000000u, 263},
      {Function::kExp, 0x80000000u, 0xc3000000u, 263},     {Function::kLog, 1, 0x7f800000u, 509},
      {Function::kTanh, 0, 0x7f800001u, 509},              {Function::kTanh, 0x80000000u, 0xff800000u, 509},
      {Function::kSigmoid, 0, 0x7f800001u, 509},           {Function::kSigmoid, 0x80000000u, 0xff800000u, 509},
      {Function::kSin, 0, 0x48000000u, 269},               {Function::kCos, 0x80000000u, 0xc8000000u, 269},
      {Function::kReciprocal, 0, 0x7f800000u, 509},        {Function::kSqrt, 0, 0x7f800000u, 509},
      {Function::kBf16, 0, 0x7f800000u, 509},              {Function::kFp16, 0x80000000u, 0xff800000u, 509},
      {Function::kReciprocal, 0, 0x00800000u, 3},          {Function::kSqrt, 0, 0x00800000u, 3},
  };
  for (const Range& r : ranges) {
    const int64_t count = (r.last - r.first) / r.stride;
    auto y = room<float>(count);
    start(device(), FunctionValues{r.function, r.first, r.stride, count, y.data()});
    const test::Floats got = download(y);
    test::Floats expected(got.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      expected[i] = function_value(r.function, num::float_of(r.first + static_cast<uint32_t>(i) * r.stride));
    }
    EXPECT_TRUE(test::same_bits(expected, got)) << "function " << static_cast<int>(r.function);
  }
}

TEST_F(DeviceFunctions, InBinary64AndRandomNumbersGiveTheBitsOfTheCpu) {
  constexpr int64_t kCount = 4000;
  auto y = room<double>(3 * kCount);
  start(device(), Scalar64Values{kCount, y.data()});
  std::vector<double> expected;
  for (int64_t i = 1; i <= kCount; ++i) {
    const double x = static_cast<double>(i) * 0x1.3p-6;
    expected.insert(expected.end(), {num::log2_64(x), num::exp2_64(x - 20.0), num::pow_int_64(0.95, static_cast<uint64_t>(i))});
  }
  EXPECT_TRUE(test::same_bits(expected, download(y)));

  auto normals = room<float>(100000);
  start(device(), NormalValues{1337, 7, num::kPurposeInit, 100000, normals.data()});
  test::Floats z(100000);
  for (size_t i = 0; i < z.size(); ++i) z[i] = num::normal(1337, 7, num::kPurposeInit, i);
  EXPECT_TRUE(test::same_bits(z, download(normals)));
}

class DeviceQuantiserOnGpu : public test::OnDevice {
 protected:
  void expect_equal(const kernels::Quantised& got, kernels::Quantised& expected) {
    const Slices v = slices_of(got);
    std::vector<int8_t> plane(static_cast<size_t>(v.rows * v.stride));
    std::vector<int32_t> exponents(static_cast<size_t>(v.rows));
    device().copy_to_host(exponents.data(), v.exponent, exponents.size() * sizeof(int32_t));
    EXPECT_TRUE(std::equal(exponents.begin(), exponents.end(), expected.exponents()));
    for (int s = 0; s < kernels::slices_of_bits(expected.bits()); ++s) {
      device().copy_to_host(plane.data(), v.plane[s], plane.size());
      for (int64_t r = 0; r < v.rows; ++r) {
        ASSERT_EQ(std::memcmp(&plane[static_cast<size_t>(r * v.stride)], expected.plane(s) + r * expected.stride(), static_cast<size_t>(v.columns)), 0)
            << "slice " << s << ", row " << r;
        for (int64_t c = v.columns; c < v.stride; ++c) ASSERT_EQ(plane[static_cast<size_t>(r * v.stride + c)], 0);
      }
    }
  }
};

TEST_F(DeviceQuantiserOnGpu, GivesTheBitsOfTheCpu) {
  std::mt19937_64 engine(11);
  for (int64_t rows : {1, 63, 500, 2048}) {
    for (int64_t columns : {1, 63, 512, 1000}) {
      test::Floats x(static_cast<size_t>(rows * columns));
      for (float& v : x) v = engine() % 7 == 0 ? 0.0f : test::random_finite(engine);
      auto on_device = upload(x);
      const Matrix<const float> m{on_device.data(), rows, columns, columns};
      for (int bits : {7, 14, 21}) {
        kernels::Quantised expected;
        kernels::Quantised got;
        auto maxima = room<uint32_t>(columns);
        quantise_rows(device(), m, bits, got);
        ASSERT_TRUE(kernels::quantise_rows(x.data(), rows, columns, columns, bits, expected));
        expect_equal(got, expected);
        quantise_columns(device(), m, bits, got, maxima);
        ASSERT_TRUE(kernels::quantise_columns(x.data(), rows, columns, columns, bits, expected));
        expect_equal(got, expected);
      }
    }
  }
  EXPECT_EQ(device().take_failure(), 0u);
}

}  // namespace
}  // namespace fairway::cuda
