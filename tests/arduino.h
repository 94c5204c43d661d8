// As much of Arduino's String and Client as docs/SENDERS.md uses, over POSIX sockets.
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

struct String : std::string {
  String(const char *text = "") : std::string(text) {}
  String(std::string text) : std::string(text) {}
  String(long number) : std::string(std::to_string(number)) {}
  String(unsigned long number) : std::string(std::to_string(number)) {}
  String(int number) : std::string(std::to_string(number)) {}
  String substring(unsigned from) const { return from < size() ? String(substr(from)) : String(); }
  long toInt() const { return atol(c_str()); }
};
inline String operator+(const String &a, const String &b) { return String(std::string(a) + std::string(b)); }
inline String operator+(const char *a, const String &b) { return String(std::string(a) + std::string(b)); }
inline String operator+(const String &a, const char *b) { return String(std::string(a) + b); }

inline long random(long below) { return ::random() % below; }

struct Client {
  int sock = -1;
  bool connect(const char *host, int port) {
    addrinfo hints{}, *to;
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host, std::to_string(port).c_str(), &hints, &to)) return false;
    sock = socket(to->ai_family, SOCK_STREAM, 0);
    bool is_connected = !::connect(sock, to->ai_addr, to->ai_addrlen);
    freeaddrinfo(to);
    if (!is_connected) stop();
    return is_connected;
  }
  bool connected() const { return sock >= 0; }
  void print(const String &text) { (void)!::send(sock, text.data(), text.size(), MSG_NOSIGNAL); }
  void println(float number) {
    char text[64];
    snprintf(text, sizeof text, "%.2f\r\n", number);  // two digits, as there
    print(text);
  }
  String readStringUntil(char end) {
    std::string text;
    for (char c; read(sock, &c, 1) == 1 && c != end;) text += c;
    return String(text);
  }
  void stop() {
    close(sock);
    sock = -1;
  }
};
