"""What is said: thousands of training sentences, and others for val and for test.

The fixed ones are Harvard sentences (IEEE Recommended Practice for Speech Quality Measurements,
1969) and everyday lines; the rest fill a template. Many different sentences matter more than many
clips of few.
"""

import numpy as np

_FIXED: str = """\
She had your dark suit in greasy wash water all year.
My baby popped the big blue bubble by the pool.
We saw five wolves move over the white field.
The boy was there when the sun rose again.
A large size in stockings is hard to sell.
Please open the heavy box and show me the map.
Four hours of steady work faced us this morning.
The ship was torn apart on the sharp reef.
Help the woman get back to her feet.
He ran half way to the hardware store.
Both lost their lives in the raging storm.
The fish twisted and turned on the bent hook.
Press the pants and sew a button on the vest.
Oak is strong and also gives shade.
Cats and dogs each hate the other.
Why do you think the moon looks so huge?
The young girl gave no clear response to me.
Bring your best compass to the third class.
Thank you for calling, how may I help you?
Maybe tomorrow it will be warm and sunny."""

_HELD_OUT: str = """\
The birch canoe slid on the smooth planks.
Glue the sheet to the dark blue background.
It is easy to tell the depth of a well.
Rice is often served in round bowls.
The box was thrown beside the parked truck.
I hope that you enjoy your new apartment.
We always paid our bills before the end of May.
Few thieves are never sent to the jail.
A rod is used to catch pink salmon in the spring.
The source of the huge river is the clear spring.
Kick the ball straight and follow through.
A pot of tea helps to pass the evening.
Smoky fires lack flame and heat for most of us.
The soft cushion broke the man's fall.
The salt breeze came across from the sea.
The girl at the booth sold fifty bonds.
The small pup gnawed a hole in the sock.
Mend the coat before you go out in the cold.
The wrist was badly strained and hung limp.
The meal was cooked before the bell rang twice.
What joy there is in living here with them.
A king ruled the state in the early days.
The hogs were fed chopped corn and garbage.
The stray cat gave birth to seven kittens."""

_VAL: str = """\
These days a chicken leg is a rare dish.
The juice of lemons makes fine punch.
The swan dive was far short of perfect.
The beauty of the view stunned the young boy.
Two blue fish swam in the tank.
Her purse was full of useless trash.
The colt reared and threw the tall rider.
It snowed, rained, and hailed the same morning.
Read verse out loud for pleasure.
Hoist the load to your left shoulder.
Take the winding path to reach the lake.
Note closely the size of the gas tank.
Wipe the grease off his dirty face.
Sickness kept him home the third week.
The wide road shimmered in the hot sun.
The lazy cow lay in the cool grass.
Lift the square stone over the fence.
The rope will bind the seven books at once.
Hop over the fence and plunge in.
The friendly gang left the drug store.
Mesh wire keeps chicks inside.
The frosty air passed through the coat.
The crooked maze failed to fool the mouse.
Adding fast leads to wrong sums."""

_WHO = (
    "the young girl|my brother|a tall farmer|the old doctor|five brave sailors|her best friend|"
    "the new teacher|a small puppy|both workers|our neighbor|the famous judge|that quiet boy|"
    "three noisy children|the happy cook|some foreign visitors|the village baker"
)
_DID = (
    "found|carried|washed|dropped|painted|opened|moved|borrowed|watched|fixed|threw|sold|pushed|"
    "chose|brought|measured"
)
_WHAT = (
    "a heavy wooden box|the blue umbrella|some fresh bread|two copper pots|the broken window|"
    "a cheap leather shoe|every other page|the yellow flowers|an awful noise|fourteen big fish|"
    "the wrong ticket|a cup of warm soup|the huge machine|his favorite jacket|a piece of rope|"
    "the purple vase"
)
_WHERE = (
    "near the river|before breakfast|in the garage|this morning|for his uncle|at the farm|"
    "with great joy|under the bridge|on a Sunday|through the back door|by the theater|"
    "after the show|while it rained|just for you|over the hill|without a word"
)


def train_sentences(count: int, *, rng: np.random.Generator) -> list[str]:
    """`count` different training sentences in random order (65,556 exist)."""
    fixed = _FIXED.splitlines()
    columns = [column.split("|") for column in (_WHO, _DID, _WHAT, _WHERE)]
    chosen = dict.fromkeys(fixed)
    while len(chosen) < max(count, len(fixed)):
        words = " ".join(column[rng.integers(len(column))] for column in columns)
        chosen[f"{words[0].upper()}{words[1:]}."] = None
    pool = list(chosen)
    return [pool[i] for i in rng.permutation(len(pool))[:count]]


def held_out_sentences() -> list[str]:
    """The test sentences; none is a training sentence or fits the training template."""
    return _HELD_OUT.splitlines()


def val_sentences() -> list[str]:
    """The sentences of the val split; none is a training or a test sentence."""
    return _VAL.splitlines()
