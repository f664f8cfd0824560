"""Sentence templates of the demo, written for it: everyday chat, football, cooking, small ads, mild exclamations.

Nothing here is offensive, and nothing is anybody's real words. Idioms that only *sound* rough ("beat the eggs",
"kill the lights", "I could murder a sandwich") are here on purpose: a model is less sure of them, so scores spread.
"""

from collections.abc import Mapping, Sequence

SLOTS: Mapping[str, Sequence[str]] = {
    "name": ("Ada", "Bela", "Chidi", "Dora", "Emil", "Freya", "Goran", "Hana", "Ines", "Jonas", "Kaja", "Liam"),
    "time": ("at noon", "after work", "around eight", "tomorrow morning", "on Friday", "next week", "in ten minutes"),
    "place": ("the station", "the library", "the old bridge", "the bakery", "the park", "platform 3", "our place"),
    "thing": ("umbrella", "charger", "bike", "notebook", "suitcase", "guitar", "tent", "ladder", "printer", "kettle"),
    "dish": ("lentil soup", "apple pie", "fried rice", "pancakes", "tomato sauce", "plum cake", "omelette", "curry"),
    "food": ("onions", "carrots", "potatoes", "walnuts", "mushrooms", "peppers", "tomatoes", "chickpeas"),
    "spice": ("cumin", "basil", "pepper", "ginger", "thyme", "paprika", "cinnamon"),
    "team": ("the Foxes", "the Rovers", "the Harbour club", "the girls' eleven", "the Owls", "United", "the B team"),
    "score": ("1-0", "2-2", "3-1", "4-0", "5-3"),
    "minute": ("12th", "34th", "67th", "89th"),
    "price": ("5 euros", "20 pounds", "a fiver", "15 dollars", "next to nothing"),
    "number": ("two", "three", "four", "six", "ten"),
}

TEMPLATES: Mapping[str, Sequence[str]] = {
    "chat": (
        "See you {time} near {place}, {name}.",
        "Has anybody seen my {thing}? I left it at {place}.",
        "{name} says the meeting moves to {time}, please tell the others.",
        "Thanks for the {dish}, {name}, it was lovely!",
        "The bus was late again, so I walked to {place} in the rain.",
        "Could you bring the {thing} {time}? Mine is broken.",
        "Happy birthday, {name}! Cake {time} at {place}, everybody is welcome.",
        "I finished the book about the lighthouse. Quiet, slow, and I loved every page.",
        "Which is better for a beginner, a second-hand {thing} or a new one?",
        "{name}, did you water the plants? They look a bit sad.",
        "Good morning all, the coffee machine at {place} works again.",
        "We need {number} more chairs {time}. Who can help carry them?",
    ),
    "football": (
        "What a goal in the {minute} minute! {team} lead {score}.",
        "{team} against {team2} {time}. I say {score}.",
        "The keeper saved {number} shots today, player of the match for me.",
        "They crushed us {score}, and honestly we deserved it.",
        "Shoot! Why does nobody shoot? {number} passes in front of an open goal.",
        "Attack down the left, cross, header, in. That is how {team} do it.",
        "That referee needs new glasses, it was never a penalty.",
        "{team} play like sleepwalkers, a hopeless second half.",
        "{name} killed the ball dead with one touch and fired it into the corner.",
        "Rubbish weather, rubbish pitch, wonderful match: {score}!",
    ),
    "kitchen": (
        "Beat {number} eggs, whip the cream, then fold both into the dough.",
        "Smash the garlic, chop the {food}, and fry them with {spice}.",
        "My {dish} burnt again. It tastes like an old shoe, but the dog likes it.",
        "Roast the {food} for half an hour, turn them once, add {spice} at the end.",
        "How long do {food} keep in the fridge?",
        "{number} spoons of {spice} is far too much, my mouth is on fire.",
        "Let the {dish} rest until {name} is back from {place}.",
        "I could murder a sandwich right now, or a big plate of {dish}.",
        "Punch the dough down, cover it, and leave it alone for an hour.",
        "The secret of a good {dish} is patience, and a little {spice}.",
    ),
    "market": (
        "For sale: one {thing}, hardly used, {price}. Pick it up near {place}.",
        "Free tickets for the puppet theatre {time}! Reply YES and bring the children.",
        "Giving away {number} boxes of {food}, first come, first served.",
        "Swap my {thing} for a {thing2}? Write to {name}.",
        "Bake sale {time} at {place}: everything for {price}, hurry up!",
        "Looking for somebody who repairs a {thing} for {price}.",
    ),
    "grumbles": (
        "Oh no, I locked myself out again. Silly me!",
        "What a stupid mistake of mine: I packed the {thing} and forgot the keys.",
        "This {thing} is a piece of junk, it broke after {number} days.",
        "Shut up and take my money, I need that {thing}!",
        "Kill the lights before you leave {place}, please.",
        "Darn, the {dish} is salty. I am a terrible cook.",
        "Damn, what a match! My voice is gone.",
        "You lucky beast, {name}, you won the raffle!",
        "Holy cow, {name}, that is one ugly {thing}. I want it.",
        "Mondays are awful, and this silly {thing} makes them worse.",
        "My boss says the report is garbage, so I start all over {time}.",
        "{name}, you fool, you have eaten all the {dish}!",
        "Crazy weather, my {thing} flew over to the neighbours.",
        "Are you nuts, {name}? {number} kilos of {food} for the two of us?",
    ),
}
