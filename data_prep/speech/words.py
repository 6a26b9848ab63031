"""The vocabulary of the spoken training sentences: common words, chosen for wide sound coverage."""


def _parts(text: str, mark: str | None = None) -> list[str]:
    """The parts of a text between marks, or between blanks."""
    return text.split(mark)


NOUNS = _parts(
    """
apple arrow artist aunt author avenue baby badge baker ball banjo bank barn basket bath battle
beach bear beard bed bee beef bench berry bicycle bird biscuit blanket blood board boat body bone
book boot bottle bowl box boy branch bread breakfast breath brick bridge broom brother brush
bucket budget building bus bush butcher butter button cabin cable cage cake camera camp candle
canyon cap captain car card carpet carrot castle cat cattle cave cellar chain chair chalk chapter
cheese cherry chicken chief child chimney chin church circle city clerk clock cloth cloud clown
coach coast coat coffee coin collar college color comb cook copper corn corner cottage cotton
couch country cousin cow crab cradle cream creek crowd crown cup curtain cushion daughter dawn
deer desert desk diamond dinner dish doctor dog doll dollar donkey door dragon drawer dream dress
driver drum duck dust eagle ear earth edge egg elbow elephant engine evening exit eye face factory
family farm farmer father feather fence field finger fire fish flag flame floor flour flower fly
fog food foot forest fork fountain fox frame friend frog fruit furnace garage garden gate ghost
giant gift giraffe girl glass glove goat gold goose grain grape grass guard guest guitar gun hair
hall hammer hand harbor hat hawk hay head heart hedge hill history hole honey hook horse hospital
hotel hour house husband ice island jacket jail jar jaw jelly jewel job joke journal journey joy
judge juice jungle kettle key king kitchen kite kitten knee knife knight knot ladder lady lake
lamb lamp lane language lawn lawyer leader leaf leather leg lemon letter library light lion lip
lock log lunch machine magic magnet mail manager map marble market mask match meadow meal measure
meat medal medicine melody member message metal milk mill minute mirror money monkey month moon
morning mother motor mountain mouse mouth movie mud muscle museum music nail name napkin nation
neck needle neighbor nest net newspaper night noise north nose note nurse oak oar ocean office oil
onion orange orchard oven owl ox oyster page pail paint palace pan paper parade parcel parent park
parrot party path peach pear pebble pen pencil people pepper phone piano picture pie pig pigeon
pillow pilot pin pipe pizza plane planet plant plate pleasure pocket poem poet point poison pole
police pond pony pool porch potato powder prince princess prize pupil puppy purple purse puzzle
queen question quilt rabbit race radio rail rain ranch razor rice ring river road robin rock
rocket roof room root rope rose rug ruler sailor salad salt sand sandwich sauce saw school science
scissors sea season seat secret seed shadow shape sheep shelf shell shepherd ship shirt shoe shop
shore shoulder shovel shower sign silver singer sister skin sky sled smoke snail snake snow soap
sock sofa soldier song soup south spider spoon spring square squirrel stable stage stair star
station steam stone store storm story stove stranger straw stream street string student sugar suit
summer sun supper surgeon sweater swing sword table tail tailor task taxi tea teacher teeth temple
tent theater thief thing thorn thread throat throne thumb thunder ticket tiger toad toast toe
tomato tongue tooth tower town toy trade trail train treasure tree truck trumpet tub tulip tunnel
turkey turtle umbrella uncle uniform usher valley van vase vegetable vehicle verse village vine
violin visitor voice wagon waist wall walnut watch water wave wax weather wedding west whale wheat
wheel whistle widow wife wind window wine wing winter wolf woman wood wool word worker world worm
wrench wrist yard year yolk youth zebra zone zoo
"""
)

ADJECTIVES = _parts(
    """
able ancient angry awful bad bald beautiful big bitter black blind blue bold brave brief bright
broad broken brown busy calm careful cheap cheerful clean clear clever cloudy clumsy cold
comfortable common cool crazy cruel curious curly damp dangerous dark dear deep dirty double dry
dull dusty eager early easy edible elegant empty enormous evil faint fair faithful false famous
fancy fast fat final fine firm flat foolish foreign fragile free fresh friendly full funny furry
fuzzy gentle giant golden good grand gray great greedy green happy hard healthy heavy high hollow
honest hot huge humble hungry icy important jealous jolly juicy kind large late lazy little lively
lonely long loose loud lovely low lucky mean mild modern muddy narrow nasty natural neat new nice
noisy odd old open ordinary pale peaceful plain pleasant polite poor precious pretty private proud
public pure purple quick quiet rare raw ready red regular rich ripe rotten rough round royal rusty
sad safe salty severe shallow sharp shiny short shy silent silly silver simple slippery slow small
smart smooth soft sour spare special square stale steep sticky stiff straight strange strong
stupid sudden sunny sure sweet swift tall tame tasty thick thin thirsty tight tiny tired tough
true ugly unusual useful usual vague vast violent warm weak wealthy wet white whole wide wild wise
wooden wrong yellow young
"""
)

_VERBS = _parts(
    """
admire/admired answer/answered avoid/avoided bake/baked beat/beat bite/bit blame/blamed
bless/blessed boil/boiled borrow/borrowed break/broke bring/brought build/built burn/burned
buy/bought call/called carry/carried carve/carved catch/caught change/changed chase/chased
check/checked choose/chose choke/choked clean/cleaned climb/climbed close/closed collect/collected
count/counted cover/covered crush/crushed cut/cut deliver/delivered destroy/destroyed draw/drew
drag/dragged dream/dreamed drink/drank drive/drove drop/dropped eat/ate enjoy/enjoyed fear/feared
feed/fed fetch/fetched find/found finish/finished fix/fixed fold/folded follow/followed
forget/forgot freeze/froze gather/gathered give/gave grab/grabbed grow/grew guard/guarded
guess/guessed hang/hung hate/hated hear/heard heat/heated help/helped hide/hid hit/hit hold/held
hug/hugged hunt/hunted ignore/ignored join/joined judge/judged keep/kept kick/kicked know/knew
lead/led leave/left lend/lent lift/lifted like/liked lock/locked lose/lost love/loved make/made
mark/marked measure/measured meet/met melt/melted miss/missed mix/mixed move/moved need/needed
notice/noticed offer/offered open/opened order/ordered owe/owed own/owned pack/packed
paint/painted pass/passed pay/paid pick/picked pinch/pinched plant/planted play/played
please/pleased polish/polished pour/poured praise/praised print/printed pull/pulled punch/punched
push/pushed put/put reach/reached read/read receive/received remember/remembered remove/removed
repair/repaired report/reported rescue/rescued return/returned ride/rode ring/rang rob/robbed
roll/rolled rub/rubbed save/saved scratch/scratched search/searched see/saw sell/sold send/sent
serve/served shake/shook shape/shaped share/shared shoot/shot show/showed shut/shut sing/sang
smell/smelled spill/spilled spoil/spoiled spread/spread squeeze/squeezed steal/stole stop/stopped
stretch/stretched study/studied surprise/surprised sweep/swept swing/swung take/took taste/tasted
teach/taught tear/tore tell/told thank/thanked throw/threw tie/tied toss/tossed touch/touched
treat/treated trust/trusted try/tried turn/turned twist/twisted use/used visit/visited want/wanted
warm/warmed warn/warned wash/washed watch/watched wear/wore weave/wove weigh/weighed whip/whipped
win/won wipe/wiped wrap/wrapped write/wrote
"""
)
VERBS = [tuple(_parts(pair, "/")) for pair in _VERBS]
"""Base form and past tense of each."""

PEOPLE = _parts(
    "I|you|he|she|we|they|nobody|everyone|somebody|my father|your mother|his cousin|her uncle|"
    "our boss|their aunt|George|Martha|Peter|Julia|Victor|Susan|Oliver|Rachel|Thomas|Charlotte|"
    "Michael|Joy|Heather|Philip|Zoe|Hugh|Ruth|Beth|Jake|Faith|Boyd|Paul|Vivian|Yolanda|Walter",
    "|",
)

ENDINGS = _parts(
    "yesterday|today|tonight|tomorrow|again|at once|by mistake|very slowly|without a sound|"
    "for a while|in the dark|on Thursday|in July|last February|with both hands|before noon|"
    "after lunch|every week|as usual|once or twice|for pleasure|near the shore|behind the garage|"
    "above the clouds|between the houses|through the fog|beneath the bridge|beyond the valley|"
    "around the corner|toward the south|with a loud cough|in an hour|at the zoo|by the fire|"
    "from time to time|because it was cheap|if the weather is good|while the boys slept|"
    "though it hurt|since last year",
    "|",
)

NUMBERS = _parts(
    "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fifteen|sixteen|twenty|"
    "forty|sixty|several|both|many|a few|a dozen|a thousand",
    "|",
)

PREPOSITIONS = _parts(
    "in|on|under|near|behind|above|below|beside|against|around|across|along|inside|outside|over|"
    "through|toward|with|without|for|from|by|past|beyond",
    "|",
)

DETERMINERS = _parts(
    "the|the|the|a|this|that|my|your|his|her|our|their|each|another|every",
    "|",
)

MODALS = _parts(
    "will|would|can|could|should|must|might|may|won't|wouldn't|can't|couldn't|shouldn't|didn't|"
    "don't want to|used to|have to|never",
    "|",
)
