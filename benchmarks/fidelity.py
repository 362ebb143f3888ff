"""How far may one trust a simulator? Does it rank policies as real answers do, and what does a randomised log say of them?"""

from __future__ import annotations

# The eight agents whose order is judged, and why each is among them. Named before any result was seen.
AGENTS = {
    "worst_first": "the floor: what others liked least; an order that cannot place it is worth nothing",
    "random": "chance",
    "popularity": "what was rated oftenest, which need not be what was liked",
    "linucb": "a bandit that learns each person from the words of the jokes, and pays for exploring",
    "best_first": "what others liked best: the best single list, so what is above it is personalisation",
    "item_knn": "neighbours of what was clicked",
    "ease": "linear weights from what was clicked, in closed form",
    "gaussian": "the best linear guess from all that this person answered, disliked jokes too",
}
