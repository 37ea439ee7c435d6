"""RandAugment and CTAugment in Pillow, an image at a time.

Written after the public code of UDA and FixMatch, from given uniform draws:
the tests compare with it, the benchmark times it.
"""

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

OPERATIONS = {
    "uda": "invert cutout sharpness autocontrast posterize shear_x shear_y "
    "translate_x translate_y rotate equalize contrast color solarize "
    "brightness",
    "fixmatch": "identity sharpness autocontrast posterize shear_x shear_y "
    "translate_x translate_y rotate equalize contrast color solarize "
    "brightness",
}


def rand_augment(image, variant, draws, fill):
    """The published recipe on one RGBA image, with given uniform draws."""
    names = OPERATIONS[variant].split()
    image = Image.fromarray(image).convert("RGBA")
    for choice, skip, magnitude, sign, y, x in draws:
        if skip >= 0.5:
            m = 1 + int(magnitude * 9)
            name = names[int(choice * len(names))]
            sign = -1 if sign < 0.5 else 1
            image = operate_at_magnitude(image, name, m, sign, y, x, fill)
    pixels = np.array(image)
    pixels[pixels[..., 3] == 0, :3] = fill
    return pixels[..., :3]


def operate_at_magnitude(image, name, m, sign, y, x, fill):
    def affine(*matrix):
        return image.transform(image.size, Image.AFFINE, matrix)

    def without_alpha(operation, *arguments):
        return operation(image.convert("RGB"), *arguments).convert("RGBA")

    if name in ("autocontrast", "equalize", "invert"):
        return without_alpha(getattr(ImageOps, name))
    if name == "posterize":
        return without_alpha(ImageOps.posterize, 4 - int(m * 4 / 10))
    if name == "solarize":
        return without_alpha(ImageOps.solarize, 256 - int(m * 256 / 10))
    if name in ("brightness", "color", "contrast", "sharpness"):
        enhancer = getattr(ImageEnhance, name.title())
        return enhancer(image).enhance(m * 1.8 / 10 + 0.1)
    if name == "rotate":
        return image.rotate(sign * int(m * 30 / 10))
    if name == "cutout":
        pixels = np.array(image)
        h, w = pixels.shape[:2]
        y, x = int(y * h) - m, int(x * w) - m
        box = slice(max(0, y), y + 2 * m), slice(max(0, x), x + 2 * m)
        pixels[box] = (*fill, 0)
        return Image.fromarray(pixels)
    shear = sign * m * 0.3 / 10
    return {
        "identity": lambda: image,
        "shear_x": lambda: affine(1, shear, 0, 0, 1, 0),
        "shear_y": lambda: affine(1, 0, 0, shear, 1, 0),
        "translate_x": lambda: affine(1, 0, sign * m, 0, 1, 0),
        "translate_y": lambda: affine(1, 0, 0, 0, 1, sign * m),
    }[name]()


# Bins of the parameters of CTAugment's operations.
BINS = {
    "autocontrast": [17],
    "blur": [17],
    "brightness": [17],
    "color": [17],
    "contrast": [17],
    "cutout": [17],
    "equalize": [17],
    "invert": [17],
    "identity": [],
    "posterize": [8],
    "rescale": [17, 6],
    "rotate": [17],
    "sharpness": [17],
    "shear_x": [17],
    "shear_y": [17],
    "smooth": [17],
    "solarize": [17],
    "translate_x": [17],
    "translate_y": [17],
}


def ct_augment(image, draws):
    """CTAugment of one image from draws (operation, two values, y, x)."""
    image, names = Image.fromarray(image), list(BINS)
    for operation, *values in draws:
        name = names[int(operation * len(names))]
        image = operate_at_value(image, name, *values)
    return np.array(image)


def operate_at_value(image, name, v, method, y, x):
    """The published operation on one image at the value `v` in [0, 1)."""
    w, h = image.size
    both = (2 * v - 1) * 0.3

    def affine(*matrix):
        return image.transform(image.size, Image.AFFINE, matrix)

    if name in ("autocontrast", "equalize", "invert"):
        return Image.blend(image, getattr(ImageOps, name)(image), v)
    if name in ("blur", "smooth"):
        kernel = getattr(ImageFilter, name.upper())
        return Image.blend(image, image.filter(kernel), v)
    if name in ("brightness", "color", "contrast", "sharpness"):
        return getattr(ImageEnhance, name.title())(image).enhance(0.1 + 1.9 * v)
    if name == "posterize":
        return ImageOps.posterize(image, 1 + int(v * 7.999))
    if name == "solarize":
        return ImageOps.solarize(image, int(v * 255.999))
    if name == "rotate":
        return image.rotate(int(np.round((2 * v - 1) * 45)))
    if name == "rescale":
        v = 0.25 * v
        names = ["LANCZOS", "BICUBIC", "BILINEAR", "BOX", "HAMMING", "NEAREST"]
        resample = getattr(Image.Resampling, names[int(method * 5.99)])
        box = (v * w, v * h, w * (1 - v), h * (1 - v))
        return image.crop(box).resize(image.size, resample)
    if name == "cutout":
        half = (1 + int(v * min(w, h) * 0.499)) // 2
        y, x = int(y * h), int(x * w)
        pixels = np.array(image)
        rows = slice(max(0, y - half), y + half)
        pixels[rows, max(0, x - half) : x + half] = 127
        return Image.fromarray(pixels)
    return {
        "identity": lambda: image,
        "shear_x": lambda: affine(1, both, 0, 0, 1, 0),
        "shear_y": lambda: affine(1, 0, 0, both, 1, 0),
        "translate_x": lambda: affine(1, 0, both * w, 0, 1, 0),
        "translate_y": lambda: affine(1, 0, 0, 0, 1, both * h),
    }[name]()
