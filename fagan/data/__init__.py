"""Any image source as one uint8 tensor, and seeded batches cut from it.

train = load(config, "train")                    # decoded once, then mapped from the cache
batches = Batches(train.images, config.batch_size, config.seed, config.flip)
batches.at(step)                                 # float32 (B, 3, R, R) in [-1, 1]
"""

from fagan.data.batches import Batches, to_uint8, to_unit
from fagan.data.cache import cache_folder
from fagan.data.images import ImageSet, class_names, load, load_all
