"""Fonts that pictures are lettered in: which families train, which are held out, and where this machine keeps them.

Knows families of free fonts with plain capitals and lining figures, in which 0 is not drawn as O nor 1 as I, and the
Debian packages that carry them. A family is on one side with all of its weights, and so are close copies of it. Does
not know what is lettered. Source: the fonts themselves, looked through for the shapes of 0-9 and A-Z.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts", "~/Library/Fonts")
NEEDED = {"train": 35, "held_out": 12}
"""Fewest families to make pictures with."""

# family | Debian package | files
_TRAIN = """
DejaVu Sans | fonts-dejavu-core | DejaVuSans-Bold.ttf, DejaVuSans.ttf
DejaVu Sans Mono | fonts-dejavu-core | DejaVuSansMono-Bold.ttf, DejaVuSansMono.ttf
DejaVu Serif | fonts-dejavu-core | DejaVuSerif-Bold.ttf, DejaVuSerif.ttf
Hack | fonts-hack | Hack-Bold.ttf, Hack-Regular.ttf
Verana Sans | fonts-adf-verana | VeranaSans-Bold.otf, VeranaSans-Regular.otf
Liberation Sans | fonts-liberation | LiberationSans-Bold.ttf, LiberationSans-Regular.ttf
Liberation Sans Narrow | fonts-liberation | LiberationSansNarrow-Bold.ttf, LiberationSansNarrow-Regular.ttf
Liberation Serif | fonts-liberation | LiberationSerif-Bold.ttf, LiberationSerif-Regular.ttf
Liberation Mono | fonts-liberation | LiberationMono-Bold.ttf, LiberationMono-Regular.ttf
Lato | fonts-lato | Lato-Bold.ttf, Lato-Light.ttf, Lato-Medium.ttf, Lato-Regular.ttf
Carlito | fonts-crosextra-carlito | Carlito-Bold.ttf, Carlito-Regular.ttf
Open Sans | fonts-open-sans | OpenSans-Bold.ttf, OpenSans-Light.ttf, OpenSans-Regular.ttf, OpenSans-Semibold.ttf
Noto Sans | fonts-noto-core | NotoSans-Bold.ttf, NotoSans-Regular.ttf
Noto Serif | fonts-noto-core | NotoSerif-Bold.ttf, NotoSerif-Regular.ttf
Noto Sans Mono | fonts-noto-mono | NotoSansMono-Bold.ttf, NotoSansMono-Regular.ttf
Noto Mono | fonts-noto-mono | NotoMono-Regular.ttf
Cantarell | fonts-cantarell | Cantarell-Bold.otf, Cantarell-Light.otf, Cantarell-Regular.otf
Cabin | fonts-cabin | Cabin-Bold.otf, Cabin-Medium.otf, Cabin-Regular.otf, Cabin-SemiBold.otf
Caladea | fonts-crosextra-caladea | Caladea-Bold.ttf, Caladea-Regular.ttf
Agave | fonts-agave | agave-b-autohinted.ttf, agave-r-autohinted.ttf
Andika | fonts-sil-andika | Andika-Bold.ttf, Andika-Regular.ttf
Anonymous Pro | fonts-anonymous-pro | Anonymous Pro B.ttf, Anonymous Pro.ttf
B612 | fonts-b612 | B612-Bold.otf, B612-Regular.otf
B612 Mono | fonts-b612 | B612Mono-Bold.otf, B612Mono-Regular.otf
CMU Sans Serif | fonts-cmu | cmunss.ttf, cmunsx.ttf
CMU Serif | fonts-cmu | cmunbx.ttf, cmunrm.ttf
CMU Typewriter Text | fonts-cmu | cmunbtl.ttf, cmuntb.ttf, cmuntt.ttf
Courier Prime Code | fonts-courier-prime | Courier Prime Code.otf
Courier Prime Sans | fonts-courier-prime | Courier Prime Sans Bold.otf, Courier Prime Sans.otf
Dosis | fonts-dosis | Dosis-Bold.otf, Dosis-Book.otf, Dosis-Light.otf, Dosis-Medium.otf
Fantasque Sans Mono | fonts-fantasque-sans | FantasqueSansMono-Bold.otf, FantasqueSansMono-Regular.otf
FreeMono | fonts-freefont-ttf | FreeMono.ttf, FreeMonoBold.ttf
FreeSans | fonts-freefont-ttf | FreeSans.ttf, FreeSansBold.ttf
FreeSerif | fonts-freefont-ttf | FreeSerif.ttf, FreeSerifBold.ttf
Gillius ADF | fonts-adf-gillius | GilliusADF-Bold.otf, GilliusADF-Regular.otf
Go | fonts-go | Go-Bold.ttf, Go-Regular.ttf
Go Mono | fonts-go | Go-Mono-Bold.ttf, Go-Mono.ttf
Hermit | fonts-hermit | Hermit-bold.otf, Hermit-light.otf, Hermit-medium.otf
IBM 3270 | fonts-3270 | 3270-Regular.ttf
Karla | fonts-karla | Karla-Bold.otf, Karla-Light.otf, Karla-Medium.otf, Karla-Regular.otf
League Mono | fonts-league-mono | LeagueMono-Bold.otf, LeagueMono-Light.otf, LeagueMono-Regular.otf
League Spartan | fonts-league-spartan | LeagueSpartan-Bold.otf, LeagueSpartan-Light.otf, LeagueSpartan-Regular.otf
Linux Biolinum O | fonts-linuxlibertine | LinBiolinum_R.otf, LinBiolinum_RB.otf
Linux Libertine O | fonts-linuxlibertine | LinLibertine_R.otf, LinLibertine_RB.otf
M PLUS 1 | fonts-mplus | Mplus1-Bold.otf, Mplus1-Light.otf, Mplus1-Medium.otf, Mplus1-Regular.otf
M PLUS 1 Code | fonts-mplus | Mplus1Code-Bold.otf, Mplus1Code-Light.otf, Mplus1Code-Medium.otf, Mplus1Code-Regular.otf
NanumGothic | fonts-nanum | NanumGothic.ttf, NanumGothicBold.ttf
NanumGothicCoding | fonts-nanum | NanumGothicCoding.ttf, NanumGothicCodingBold.ttf
NanumMyeongjo | fonts-nanum | NanumMyeongjo.ttf, NanumMyeongjoBold.ttf
National Park | fonts-national-park | NationalPark-Regular.otf
Nimbus Mono PS | fonts-urw-base35 | NimbusMonoPS-Bold.otf, NimbusMonoPS-Regular.otf
Nimbus Roman | fonts-urw-base35 | NimbusRoman-Bold.otf, NimbusRoman-Regular.otf
Nimbus Sans | fonts-urw-base35 | NimbusSans-Bold.otf, NimbusSans-Regular.otf
Nimbus Sans Narrow | fonts-urw-base35 | NimbusSansNarrow-Bold.otf, NimbusSansNarrow-Regular.otf
P052 | fonts-urw-base35 | P052-Bold.otf, P052-Roman.otf
URW Bookman | fonts-urw-base35 | URWBookman-Demi.otf, URWBookman-Light.otf
URW Gothic | fonts-urw-base35 | URWGothic-Book.otf, URWGothic-Demi.otf
Play | fonts-play | Play-Bold.ttf, Play-Regular.ttf
Quicksand | fonts-quicksand | Quicksand-Bold.ttf, Quicksand-Regular.ttf
Quattrocento | fonts-quattrocento | Quattrocento-Regular.otf
STIX | fonts-stix | STIX-Bold.otf, STIX-Regular.otf
Sawarabi Gothic | fonts-sawarabi-gothic | sawarabi-gothic-medium.ttf
Sora | fonts-sora | Sora-Bold.otf, Sora-Light.otf, Sora-Regular.otf, Sora-SemiBold.otf
Spleen 32x64 | fonts-spleen | spleen-32x64.otf
Spleen 16x32 | fonts-spleen | spleen-16x32.otf
Tiresias PCfont | fonts-tiresias | tiresias_pcfont.ttf, tiresias_pcfont_bold.ttf
Tiresias Infofont | fonts-tiresias | tiresias_infofont.ttf, tiresias_infofont_bold.ttf
Tlwg Mono | fonts-tlwg-mono-ttf | TlwgMono-Bold.ttf, TlwgMono.ttf
Tlwg Typist | fonts-tlwg-typist-ttf | TlwgTypist-Bold.ttf, TlwgTypist.ttf
Tuffy | fonts-tuffy | Tuffy.ttf, Tuffy_Bold.ttf
Umpush | fonts-tlwg-umpush-ttf | Umpush-Bold.ttf, Umpush-Light.ttf, Umpush.ttf
Universalis ADF Std | fonts-adf-universalis | UniversalisADFStd-Bold.otf, UniversalisADFStd-Regular.otf
VL Gothic | fonts-vlgothic | VL-Gothic-Regular.ttf
mononoki | fonts-mononoki | mononoki-Bold.ttf, mononoki-Regular.ttf
osifont | fonts-osifont | osifont.ttf
Garuda | fonts-tlwg-garuda-ttf | Garuda-Bold.ttf, Garuda.ttf
Loma | fonts-tlwg-loma-ttf | Loma-Bold.ttf, Loma.ttf
Waree | fonts-tlwg-waree-ttf | Waree-Bold.ttf, Waree.ttf
Padauk | fonts-sil-padauk | Padauk-Bold.ttf, Padauk-Regular.ttf
Monoid | fonts-monoid | Monoid-Bold.ttf, Monoid-Regular.ttf
Old Standard TT | fonts-oldstandard | OldStandard-Bold.ttf, OldStandard-Regular.ttf
Baskervald ADF Std | fonts-adf-baskervald | BaskervaldADFStd-Bold.otf, BaskervaldADFStd.otf
Jura | fonts-jura | Jura-Bold.otf, Jura-Light.otf, Jura-Medium.otf, Jura-Regular.otf
Allerta | fonts-allerta | allerta_medium.otf
Doulos SIL | fonts-sil-doulos | DoulosSIL-Regular.ttf
Sawasdee | fonts-tlwg-sawasdee-ttf | Sawasdee-Bold.ttf, Sawasdee.ttf
"""

_HELD_OUT = """
Fira Code | fonts-firacode | FiraCode-Bold.ttf, FiraCode-Light.ttf, FiraCode-Medium.ttf, FiraCode-Regular.ttf
JetBrains Mono | fonts-jetbrains-mono | JetBrainsMono-Bold.ttf, JetBrainsMono-Light.ttf, JetBrainsMono-Regular.ttf
PT Mono | fonts-paratype | PTM55F.ttf, PTM75F.ttf
Inconsolata | fonts-inconsolata | Inconsolata.otf
Oxygen Mono | fonts-oxygen | OxygenMono-Regular.ttf
PT Sans | fonts-paratype | PTS55F.ttf, PTS75F.ttf
PT Serif | fonts-paratype | PTF55F.ttf, PTF75F.ttf
Roboto | fonts-roboto-unhinted | Roboto-Bold.ttf, Roboto-Light.ttf, Roboto-Medium.ttf, Roboto-Regular.ttf
Roboto Condensed | fonts-roboto-unhinted | RobotoCondensed-Bold.ttf, RobotoCondensed-Regular.ttf
Roboto Slab | fonts-roboto-slab | RobotoSlab-Bold.otf, RobotoSlab-Light.otf, RobotoSlab-Regular.otf
Inter | fonts-inter | Inter-Bold.otf, Inter-Light.otf, Inter-Medium.otf, Inter-Regular.otf
Clear Sans | fonts-clear-sans | ClearSans-Bold.ttf, ClearSans-Regular.ttf
Manrope | fonts-manrope | Manrope-Bold.ttf, Manrope-Light.ttf, Manrope-Medium.ttf, Manrope-Regular.ttf
Oxygen-Sans | fonts-oxygen | Oxygen-Sans-Bold.ttf, Oxygen-Sans.ttf
Charis SIL | fonts-sil-charis | CharisSIL-Bold.ttf, CharisSIL-Regular.ttf
C059 | fonts-urw-base35 | C059-Bold.otf, C059-Roman.otf
"""


def _families(table: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Family -> its package and its files."""
    rows = ([cell.strip() for cell in row.split("|")] for row in table.strip().splitlines())
    return {family: (package, tuple(files.split(", "))) for family, package, files in rows}


TRAIN = _families(_TRAIN)
HELD_OUT = _families(_HELD_OUT)
SPLITS = {"train": TRAIN, "held_out": HELD_OUT}


def available(split: str) -> dict[str, tuple[str, ...]]:
    """The families of "train" or "held_out" found on this machine: family -> paths of its weights.

    Raises `FileNotFoundError`, naming packages to install, where there are fewer than `NEEDED`.
    """
    found = {path.name: str(path) for path in _font_files()}
    families = SPLITS[split]
    here = {name: tuple(found[file] for file in files if file in found) for name, (_, files) in families.items()}
    here = {name: paths for name, paths in here.items() if paths}
    if len(here) < NEEDED[split]:
        missing = sorted({package for name, (package, _) in families.items() if name not in here})
        raise FileNotFoundError(
            f"{len(here)} of the {split} font families are here, {NEEDED[split]} are needed: "
            f"apt-get install --no-install-recommends {' '.join(missing)}"
        )
    return here


def _font_files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted(path for path in Path(folder).expanduser().rglob("*") if path.suffix in (".ttf", ".otf"))


def load(path: str | None, cap: float) -> ImageFont.FreeTypeFont:
    """The font in the size at which its capitals are `cap` pixels high; with no path the font that Pillow carries."""
    return _opened(path, cap / _cap_of_one(path))


@lru_cache(maxsize=512)
def _cap_of_one(path: str | None) -> float:
    """Height of a capital for a size of 1."""
    _, top, _, bottom = _opened(path, 400).getbbox("H")
    return (bottom - top) / 400


def _opened(path: str | None, size: float) -> ImageFont.FreeTypeFont:
    if path is not None:
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    built_in = ImageFont.load_default(size)
    assert isinstance(built_in, ImageFont.FreeTypeFont)  # the other kind is for Pillow without FreeType
    return built_in
