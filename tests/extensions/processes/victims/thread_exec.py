"""A program that executes another one from a thread, which has no parent-death signal, and stays."""

import os
import sys
import threading
import time

CODE = "import os,time; os.write(3, b'up'); time.sleep(9999)"

if __name__ == "__main__":
    threading.Thread(target=os.execv, args=(sys.executable, [sys.executable, "-I", "-S", "-c", CODE])).start()
    time.sleep(9999)
