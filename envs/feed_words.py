"""The vocabulary of Feed-v0's titles: topics (tags) and frames for each category."""

from __future__ import annotations

# Categories that lie near each other in taste share a group.
GROUPS = {
    "stage": ("music", "comedy", "dance"),
    "home": ("cooking", "crafts", "pets"),
    "style": ("beauty", "hairstyling", "fashion"),
    "motion": ("sports", "fitness", "cars"),
    "screen": ("gaming", "science", "news"),
    "away": ("travel",),
}

# Six topics a category: the tags of its items, worded so that they fit into a title.
TOPICS = {
    "music": ("guitar covers", "street piano", "beat making", "choir harmonies", "vinyl finds", "karaoke nights"),
    "comedy": (
        "office sketches",
        "stand-up bits",
        "family pranks",
        "voice impressions",
        "awkward dates",
        "cat dubbing",
    ),
    "dance": ("salsa steps", "breakdance battles", "ballet drills", "wedding dances", "tap routines", "shuffle combos"),
    "cooking": ("weeknight pasta", "sourdough", "street tacos", "one-pan dinners", "knife skills", "vegan desserts"),
    "travel": ("night trains", "hidden beaches", "mountain huts", "city walks", "budget hostels", "border crossings"),
    "sports": ("free kicks", "marathon days", "court vision", "comeback wins", "goalkeeper saves", "locker rooms"),
    "gaming": ("speedruns", "boss fights", "retro consoles", "base building", "ranked matches", "indie gems"),
    "beauty": (
        "five-minute makeup",
        "skin routines",
        "nail designs",
        "eyeliner looks",
        "drugstore finds",
        "bridal looks",
    ),
    "hairstyling": ("curly cuts", "braid ideas", "balayage", "short bobs", "barber fades", "heatless waves"),
    "fashion": (
        "thrift hauls",
        "capsule wardrobes",
        "sneaker drops",
        "layered outfits",
        "vintage denim",
        "rainy-day looks",
    ),
    "pets": ("rescue dogs", "talking parrots", "kitten diaries", "aquarium builds", "horse training", "hamster mazes"),
    "science": (
        "slow-motion chemistry",
        "black holes",
        "deep-sea life",
        "kitchen physics",
        "fossil digs",
        "tiny robots",
    ),
    "news": (
        "election nights",
        "local hearings",
        "market mornings",
        "weather alerts",
        "court rulings",
        "transport strikes",
    ),
    "fitness": (
        "kettlebell sets",
        "morning yoga",
        "pull-up progress",
        "running form",
        "desk stretches",
        "core circuits",
    ),
    "crafts": ("pottery glazes", "crochet toys", "wood joints", "paper flowers", "leather wallets", "stained glass"),
    "cars": ("engine swaps", "drift practice", "barn finds", "road-trip vans", "electric conversions", "pit stops"),
}

# Frames that fit every topic; {topic} is one of the above, {n} a small number, {place} a place.
FRAMES = (
    "{topic} in {n} minutes",
    "What nobody tells you about {topic}",
    "A day of {topic} in {place}",
    "{n} small mistakes with {topic}",
    "{topic}, but make it quick",
    "My first try at {topic}",
    "Beginner to better: {topic}",
    "Why {place} loves {topic}",
    "{topic} at midnight",
    "The quiet joy of {topic}",
    "{n} ideas for {topic}",
    "Learning {topic} from my grandmother",
    "{topic} with almost no budget",
    "I tried {topic} for {n} days",
    "The best {topic} in {place}",
    "{topic} explained calmly",
    "Before and after: {topic}",
    "{place}'s favourite {topic}",
)

# Frames of clickbait: they promise more than any item holds.
BAIT_FRAMES = (
    "You will NOT believe these {topic}",
    "{n} {topic} secrets they hide from you",
    "I quit my job for {topic} (gone wrong)",
    "This {topic} trick changes EVERYTHING",
    "Wait for the end: {topic}",
)

PLACES = (
    "Lisbon", "Osaka", "Nairobi", "Lima", "Tbilisi", "Hanoi", "Oslo", "Cusco", "Accra", "Leeds", "Naples", "Austin",
    "Quito", "Split", "Pune", "Busan", "Tunis", "Ghent", "Perth", "Bogota",
)  # fmt: skip

FIRST = (
    "Mira", "Otto", "Yuki", "Sana", "Leo", "Ines", "Kofi", "Nadia", "Tomas", "Aiko", "Ruth", "Emeka", "Pia", "Hugo",
    "Lina", "Ravi", "Zoe", "Ilya", "Maya", "Jonas",
)  # fmt: skip

HANDLES = ("Daily", "Studio", "Loop", "Corner", "Lab", "Notes", "Club", "Diaries", "Works", "Minute")
