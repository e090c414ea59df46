/* As program.c, for C++: a byte goes to private memory and comes back. */
#include <ferry/ferry.hpp>

int main()
{
    if (ferry_version() != FERRY_VERSION)
        return 1;
    try {
        auto buffer = ferry::MetalBuffer::Create(
            ferry::MetalDeviceManager::Instance().GetDefaultDevice(), 1, false);
        char byte = 7;
        buffer->CopyFromHost(&byte, 1);
        byte = 0;
        buffer->CopyToHost(&byte, 1);
        return byte == 7 ? 0 : 1;
    } catch (const ferry::Error &) {
        return 1;
    }
}
