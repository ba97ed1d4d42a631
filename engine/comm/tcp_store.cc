#include "engine/comm/tcp_store.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace fairway::comm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kMagic[8] = {'f', 'a', 'i', 'r', 's', 't', 'o', '1'};
constexpr uint32_t kMaxIdentity = 1024, kMaxBytes = 65536;

/// What a rank says first, followed by its identity. All ranks are of one machine type, as the int64 they sum; the magic tells byte order too.
struct Hello {
  char magic[8];
  uint32_t order;  ///< 1
  uint32_t rank, size, identity_bytes, bytes;
};

/// What rank 0 answers, followed by `count` bytes: those shared, or an error's text.
struct Answer {
  uint32_t ok, count;
};

class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

  /// Waits for `events`; false at the deadline.
  bool ready(short events, Clock::time_point deadline) const {
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      pollfd p{fd_, events, 0};
      const int n = ::poll(&p, 1, left > 0 ? static_cast<int>(left) : 0);
      if (n > 0) return true;
      if (n == 0 || errno != EINTR) return false;
    }
  }
  bool receive(void* to, size_t count, Clock::time_point deadline) const {
    for (char* at = static_cast<char*>(to); count > 0;) {
      if (!ready(POLLIN, deadline)) return false;
      const ssize_t n = ::recv(fd_, at, count, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      at += n;
      count -= static_cast<size_t>(n);
    }
    return true;
  }
  bool send(const void* from, size_t count, Clock::time_point deadline) const {
    for (const char* at = static_cast<const char*>(from); count > 0;) {
      if (!ready(POLLOUT, deadline)) return false;
      const ssize_t n = ::send(fd_, at, count, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      at += n;
      count -= static_cast<size_t>(n);
    }
    return true;
  }

 private:
  int fd_;
};

std::string place(const StoreAddress& a) { return a.host + ":" + std::to_string(a.port); }

/// Calls use(socket, address) for each address the name has until one returns true.
template <class Use>
Result<Socket> open_socket(const StoreAddress& a, bool passive, const Use& use) {
  addrinfo hints{}, *list = nullptr;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  const std::string port = std::to_string(a.port);
  if (const int code = ::getaddrinfo(a.host.c_str(), port.c_str(), &hints, &list); code != 0) {
    return Error{Errc::kUnavailable, "MASTER_ADDR", a.host + ": " + gai_strerror(code)};
  }
  std::string why = "no address";
  for (const addrinfo* i = list; i != nullptr; i = i->ai_next) {
    Socket s(::socket(i->ai_family, i->ai_socktype | SOCK_CLOEXEC, i->ai_protocol));
    if (s.fd() >= 0 && use(s, *i)) {
      ::freeaddrinfo(list);
      return s;
    }
    why = std::strerror(errno);
  }
  ::freeaddrinfo(list);
  return Error{Errc::kUnavailable, place(a), (passive ? "rank 0 cannot listen: " : "rank 0 cannot be reached: ") + why};
}

/// What is wrong with a rank that says this; empty if nothing.
std::string objection(const Hello& hello, const std::string& identity, const StoreAddress& a, std::string_view own, size_t bytes, const std::vector<Socket>& ranks) {
  if (hello.size != static_cast<uint32_t>(a.size)) return "a rank was started with WORLD_SIZE " + std::to_string(hello.size) + ", rank 0 with " + std::to_string(a.size);
  if (hello.rank == 0 || hello.rank >= hello.size) return "a rank was started with RANK " + std::to_string(hello.rank) + " of " + std::to_string(hello.size);
  if (ranks[hello.rank].fd() >= 0) return "two ranks were started with RANK " + std::to_string(hello.rank);
  if (identity != own || hello.bytes != bytes) {
    return "rank " + std::to_string(hello.rank) + " is another build: \"" + identity + "\", rank 0 is \"" + std::string(own) + "\"; start one build everywhere";
  }
  return "";
}

Status serve(const StoreAddress& a, std::string_view identity, std::span<const std::byte> bytes, Clock::time_point deadline) {
  FAIRWAY_ASSIGN(Socket listener, open_socket(a, true, [](const Socket& s, const addrinfo& i) {
                   const int on = 1;
                   ::setsockopt(s.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
                   return ::bind(s.fd(), i.ai_addr, i.ai_addrlen) == 0 && ::listen(s.fd(), 128) == 0;
                 }));
  std::vector<Socket> ranks(static_cast<size_t>(a.size));
  std::string problem;
  Errc code = Errc::kData;
  Clock::time_point until = deadline;
  for (int arrived = 1; arrived < a.size;) {
    if (!listener.ready(POLLIN, until)) {
      if (!problem.empty()) break;
      problem = "only " + std::to_string(arrived) + " of " + std::to_string(a.size) + " ranks arrived in time";
      code = Errc::kUnavailable;
      break;
    }
    Socket s(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (s.fd() < 0) continue;
    // Whoever connects and is no rank of ours is sent away; it must not hold up the others for long.
    const auto patience = std::min(deadline, Clock::now() + std::chrono::seconds(2));
    Hello hello{};
    if (!s.receive(&hello, sizeof hello, patience) || std::memcmp(hello.magic, kMagic, sizeof kMagic) != 0 || hello.order != 1 ||
        hello.identity_bytes > kMaxIdentity) {
      continue;
    }
    std::string theirs(hello.identity_bytes, '\0');
    if (!s.receive(theirs.data(), theirs.size(), patience)) continue;
    ++arrived;
    if (problem.empty()) {
      problem = objection(hello, theirs, a, identity, bytes.size(), ranks);
      // Those that come later are told as well, rather than left to wait.
      if (!problem.empty()) until = std::min(deadline, Clock::now() + std::chrono::seconds(5));
    }
    if (problem.empty()) {
      ranks[hello.rank] = std::move(s);
      continue;
    }
    const Answer answer{0, static_cast<uint32_t>(problem.size())};
    if (s.send(&answer, sizeof answer, patience)) s.send(problem.data(), problem.size(), patience);
  }
  const bool ok = problem.empty();
  const Answer answer{ok ? 1u : 0u, static_cast<uint32_t>(ok ? bytes.size() : problem.size())};
  const void* payload = ok ? static_cast<const void*>(bytes.data()) : problem.data();
  // A refusal is sent even when the time is up.
  const auto last = std::max(deadline, Clock::now() + std::chrono::seconds(2));
  for (int r = 1; r < a.size; ++r) {
    const Socket& s = ranks[static_cast<size_t>(r)];
    if (s.fd() < 0) continue;
    if (!(s.send(&answer, sizeof answer, last) && s.send(payload, answer.count, last)) && ok) {
      return Error{Errc::kUnavailable, place(a), "rank " + std::to_string(r) + " was lost at start"};
    }
  }
  if (!ok) return Error{code, place(a), problem};
  return {};
}

Status attend(const StoreAddress& a, std::string_view identity, std::span<std::byte> bytes, Clock::time_point deadline) {
  Socket s;
  for (;;) {  // rank 0 may start later
    Result<Socket> opened = open_socket(a, false, [](const Socket& to, const addrinfo& i) { return ::connect(to.fd(), i.ai_addr, i.ai_addrlen) == 0; });
    if (opened) {
      s = std::move(*opened);
      break;
    }
    if (Clock::now() >= deadline) return opened.error();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  Hello hello{};
  std::memcpy(hello.magic, kMagic, sizeof kMagic);
  hello.order = 1;
  hello.rank = static_cast<uint32_t>(a.rank);
  hello.size = static_cast<uint32_t>(a.size);
  hello.identity_bytes = static_cast<uint32_t>(identity.size());
  hello.bytes = static_cast<uint32_t>(bytes.size());
  Answer answer{};
  const Error lost{Errc::kUnavailable, place(a), "rank 0 was lost at start, or not all ranks arrived in time"};
  // Rank 0 sends its own refusal at the deadline; wait a little longer for it.
  const auto last = deadline + std::chrono::seconds(2);
  if (!s.send(&hello, sizeof hello, deadline) || !s.send(identity.data(), identity.size(), deadline) || !s.receive(&answer, sizeof answer, last)) return lost;
  if (answer.ok == 1) {
    if (answer.count != bytes.size() || !s.receive(bytes.data(), bytes.size(), last)) return lost;
    return {};
  }
  std::string text(std::min(answer.count, 4 * kMaxIdentity), '\0');
  if (!s.receive(text.data(), text.size(), last)) return lost;
  return Error{text.starts_with("only ") ? Errc::kUnavailable : Errc::kData, place(a), text};
}

}  // namespace

Result<std::optional<StoreAddress>> store_from_environment() {
  const auto get = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (get("RANK").empty()) return std::optional<StoreAddress>();
  StoreAddress a;
  a.host = get("MASTER_ADDR");
  if (a.host.empty()) return Error{Errc::kUsage, "MASTER_ADDR", "RANK is set and this is not; name the host of rank 0"};
  const auto number = [&](const char* name, int least, int most, int& out) -> Status {
    const std::string text = get(name);
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (code != std::errc() || end != text.data() + text.size() || out < least || out > most) {
      return Error{Errc::kUsage, name, "\"" + text + "\" is no number from " + std::to_string(least) + " to " + std::to_string(most)};
    }
    return {};
  };
  int port = 0;
  FAIRWAY_TRY(number("MASTER_PORT", 1, 65535, port));
  FAIRWAY_TRY(number("WORLD_SIZE", 1, 65536, a.size));
  FAIRWAY_TRY(number("RANK", 0, a.size - 1, a.rank));
  FAIRWAY_TRY(number("LOCAL_RANK", 0, 1023, a.local_rank));
  a.port = static_cast<uint16_t>(port);
  return std::optional<StoreAddress>(a);
}

Status share_through_store(const StoreAddress& address, std::string_view identity, std::span<std::byte> bytes, std::chrono::milliseconds timeout) {
  FAIRWAY_CHECK(bytes.size() <= kMaxBytes && identity.size() <= kMaxIdentity && address.rank >= 0 && address.rank < address.size);
  const auto deadline = Clock::now() + timeout;
  return address.rank == 0 ? serve(address, identity, bytes, deadline) : attend(address, identity, bytes, deadline);
}

}  // namespace fairway::comm
