"""Words that the demo model hears, and words of questions that it must not claim to know.

Source: written for this model.
"""

SPOKEN = tuple(
    """zero one two three four five six seven eight nine red green blue yellow orange purple black white stop start open
    close left right next back yes no save play up down""".split()
)
DIGITS = SPOKEN[:10]

NAMES = tuple(
    """Ada Alan Alice Anna Ben Bob Carl Clara Dan Emma Eva Felix Grace Jack Jane Kim Leo Lisa Max Mia Nina Noah Paul
    Peter Rosa Sam Sara Tom Vera Zoe""".split()
)

HELD_OUT_NAMES = tuple("Otto Iris Hugo Lena Karl Nora Emil Ruth Finn Olga Dora Oskar Ida Marie Victor".split())

WORDS = tuple(
    """apple river mountain garden table chair house street city country island ocean ship train plane car bicycle
    road bridge castle church school teacher student doctor nurse farmer king queen soldier president government
    law court money bank market price tax company worker engine machine computer keyboard file folder program
    compiler function variable loop server database password book page story poem song music guitar piano drum
    concert film theatre actor painter colour light shadow sun moon star planet rocket gravity energy atom water
    fire earth wind storm rain snow summer winter spring autumn day night morning evening hour minute week month
    year century history war peace sentence grammar sum prime square root circle angle triangle probability
    statistics proof theorem science physics chemistry biology cell gene animal dog cat horse cow sheep bird eagle
    fish whale snake spider flower tree leaf forest grass bread butter cheese milk coffee tea sugar salt soup rice
    potato tomato onion recipe cake dinner breakfast health medicine pain fever heart brain blood bone skin sleep
    dream love fear anger joy friend family mother father sister brother child baby birthday wedding holiday
    travel ticket passport hotel airport weather news football tennis chess game player winner team coach race run
    walk jump swim climb build repair clean cook paint draw write read speak sing dance play work learn teach
    think know find lose buy sell open close start stop send receive big small old new fast slow hot cold red
    green blue dark heavy cheap good bad early late happy sad strange beautiful always never often today tomorrow
    yesterday here there with without before after under over between because""".split()
)

SUBJECTS = (
    "the Roman Empire",
    "quantum physics",
    "the French Revolution",
    "Shakespeare",
    "Albert Einstein",
    "the capital of Japan",
    "the capital of Spain",
    "the tallest building",
    "photosynthesis",
    "the stock market",
    "my computer",
    "a binary tree",
    "Rust",
    "JavaScript",
    "the moon landing",
    "black holes",
    "London",
    "Berlin",
    "New York",
    "the Pacific Ocean",
    "Mozart",
    "climate change",
    "the meaning of life",
    "ChatGPT",
    "Windows",
    "the speed of light",
    "three plus five",
    "2 + 3",
    "17 times 19",
    "a good restaurant",
)

HELD_OUT = tuple(
    """volcano desert lamp pencil violin Venus Sweden tunnel pepper lawyer oxygen tiger banana museum hermit wallet
    saddle candle zebra Napoleon harbour lemon thunder marble pillow ladder dolphin anchor velvet carpet""".split()
)
