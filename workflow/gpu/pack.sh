#!/bin/sh
# Wheels that a bare machine with torch lacks, packed here and carried there: at most 64 MiB.
#
#   workflow/gpu/pack.sh wheels                    here
#   pip install --no-index --no-deps --no-build-isolation wheels/*.whl wheels/*.gz  there
#
# Torch with its CUDA libraries, SciPy, pandas, seaborn and the like are taken to be there, and what
# serves the browser, JupyterLab and the tests alone stays out. Same Python here and there, or some
# pins (numpy's, scipy's) are the other's. PYTHON_VERSION (3.12) and PLATFORM (manylinux_2_28_x86_64) are the other machine's.
set -eu
folder=${1:?"usage: pack.sh FOLDER"}
version=${PYTHON_VERSION:-3.12}
platform=${PLATFORM:-manylinux_2_28_x86_64}
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$folder"

# what an image with torch for research usually has, and what trainings and pages do not import
left_out='torch|torchvision|triton|nvidia-.*|cuda-.*|sympy|mpmath|networkx|numpy|setuptools|fsspec'
left_out="$left_out|scipy|pandas|matplotlib|pillow|seaborn|statsmodels|timm|torchmetrics|fonttools"
left_out="$left_out|huggingface-hub|kiwisolver|contourpy|formulaic|aiohttp"
left_out="$left_out|jupyterlab.*|jupyter-(lsp|server.*|builder)|notebook-shim|debugpy|playwright|greenlet"
left_out="$left_out|babel|widgetsnbextension|ipywidgets|jupyterlab-widgets|json5|async-lru|prometheus-client"
left_out="$left_out|argon2-cffi.*|send2trash|snakemake-executor-plugin-.*"
left_out="$left_out|axe-.*|hypothesis|pytest|prdc|scikit-learn|ruff|hf-xet|sqlalchemy|sqlmodel"
grep -Ev "^(#|$)|^($left_out)==" "$root/requirements.txt" >"$folder/requirements.txt"

python3 -m pip download --quiet --dest "$folder" --no-deps --prefer-binary \
    --python-version "$version" --platform "$platform" --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 --requirement "$folder/requirements.txt"

mib=$(du -sm "$folder" | cut -f1)
echo "$folder: $(find "$folder" -name '*.whl' | wc -l) wheels, $mib MiB"
if [ "$mib" -gt 64 ]; then
    find "$folder" -name '*.whl' -size +3M -exec du -m {} + | sort -rn >&2
    echo "more than 64 MiB: leave out what is not needed there" >&2
    exit 1
fi
