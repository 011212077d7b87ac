"""`mien cluster doctor` on real clusters: what is well, what is not, and what cannot be reached at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT
from mien import doctor, probe
from mien.doctor import Case, Node
